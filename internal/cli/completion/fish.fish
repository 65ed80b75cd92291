function __nodestore_migrate
    set -l found (nodestore-migrate complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c nodestore-migrate -f -a '(__nodestore_migrate)'
