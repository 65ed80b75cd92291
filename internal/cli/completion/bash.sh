# shellcheck shell=bash
_nodestore_migrate() {
  local line word=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  while IFS= read -r line; do
    line=${line%%$'\t'*}
    # bash has put the part before = away already.
    [[ $word == = || ${COMP_WORDS[COMP_CWORD - 1]} == = ]] && line=${line#*=}
    COMPREPLY+=("$line")
  done < <(nodestore-migrate complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _nodestore_migrate nodestore-migrate
