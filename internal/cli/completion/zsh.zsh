#compdef nodestore-migrate
_nodestore_migrate() {
  local line
  local -a found
  for line in "${(@f)$(nodestore-migrate complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#found )); then
    _describe nodestore-migrate found
  else
    _files
  fi
}
compdef _nodestore_migrate nodestore-migrate
