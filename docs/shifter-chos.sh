# /etc/profile.d/shifter-chos.sh: the image of who names none, by $CHOS or ~/.chos.
if [ -z "${SHIFTER_IMAGEREQUEST:-}${SHIFTER_IMAGE:-}" ] && [ "$(id -u)" != 0 ]; then
  shifter_chos=${CHOS:-}
  # A FIFO is not waited for, and of a long file no more is read than a name may have.
  if [ -z "$shifter_chos" ] && [ -n "${HOME:-}" ] && [ -f "$HOME/.chos" ] && [ -r "$HOME/.chos" ]; then
    shifter_chos=$(head -c 400 "$HOME/.chos" | tr -d '\000' | { read -r shifter_line || :; printf %s "$shifter_line"; }) || :
  fi
  case $shifter_chos in
    '' | local | root | /) ;;
    *[[:cntrl:]]*) echo "the name of a CHOS environment in \$CHOS or ~/.chos is no text" >&2 ;;
    *)
      if [ "${#shifter_chos}" -gt 80 ]; then echo "the name of a CHOS environment in \$CHOS or ~/.chos is longer than 80 characters" >&2
      else export SHIFTER_IMAGEREQUEST="chos:$shifter_chos"; fi ;;
  esac
  unset shifter_chos
fi
