# /etc/profile.d/shifter-chos.sh: the image of who names none, by $CHOS or ~/.chos.
if [ -z "${SHIFTER_IMAGEREQUEST:-}${SHIFTER_IMAGE:-}" ] && [ "$(id -u)" != 0 ]; then
  shifter_chos=${CHOS:-}
  if [ -z "$shifter_chos" ] && [ -f "$HOME/.chos" ]; then IFS= read -r shifter_chos <"$HOME/.chos" || :; fi
  case $shifter_chos in
    '' | local | root) ;;
    *[![:print:]]*) echo "the name of a CHOS environment in \$CHOS or ~/.chos is no text" >&2 ;;
    *) export SHIFTER_IMAGEREQUEST="chos:$shifter_chos" ;;
  esac
  unset shifter_chos
fi
