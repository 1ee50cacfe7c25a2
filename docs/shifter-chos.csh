# /etc/profile.d/shifter-chos.csh: the same for csh and tcsh. The rules are those of shifter-chos.sh, read by sh, whose answer is one line of text.
set shifter_chos = "`/bin/sh -c 'printenv SHIFTER_IMAGEREQUEST SHIFTER_IMAGE | LC_ALL=C grep -q . || { . /etc/profile.d/shifter-chos.sh; printenv SHIFTER_IMAGEREQUEST; } || :'`"
if ( x$shifter_chos:q != x ) setenv SHIFTER_IMAGEREQUEST $shifter_chos:q
unset shifter_chos
