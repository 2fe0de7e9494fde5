# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of lunctl for bash: words come from the program's own table, names from the service.

_lunctl_names() {
    # $1: what is listed, $2: the key of its name in JSON; the rest: global options that choose the bus
    local noun=$1 key=$2
    shift 2
    lunctl "$@" --no-ask-password --json=short "$noun" list 2> /dev/null |
        grep -oE "\"$key\":(\"[^\"]*\"|[0-9]+)" | cut -d: -f2- | tr -d '"'
}

# Portals as “portal remove” takes them: the address in brackets when it has colons
_lunctl_portals() {
    paste -d ' ' <(_lunctl_names portal Address "$@") <(_lunctl_names portal Port "$@") |
        sed -E 's/^(.*:.*) (.*)$/[\1]:\2/; s/ /:/'
}

_lunctl() {
    # shellcheck disable=SC2034 # _init_completion sets prev
    local cur=${COMP_WORDS[COMP_CWORD]} prev words cword
    # With the package bash-completion a word keeps its colons and equals signs
    if declare -F _init_completion > /dev/null; then
        _init_completion -n =: || return
    else
        words=("${COMP_WORDS[@]}")
        cword=$COMP_CWORD
    fi

    local global='--bus= --user --json= --no-ask-password --no-legend --no-pager --dry-run --version --help'
    local noun='' verb='' position=0 word bus=() i found
    for ((i = 1; i < cword; i++)); do
        word=${words[i]}
        case $word in
            --bus=* | --user) bus+=("$word") ;;
            -*) ;;
            *)
                [ $position -eq 0 ] && noun=$word
                [ $position -eq 1 ] && verb=$word
                position=$((position + 1))
                ;;
        esac
    done

    # The row of the verb; one without a second word has “-” there
    local table row
    table=$(lunctl --list-verbs 2> /dev/null)
    row=$(grep -E "^$noun (${verb:-?}|-)( |$)" <<< "$table" 2> /dev/null)
    if [[ -n $noun && $row == "$noun -"* ]]; then
        verb=-
        position=$((position + 1))
    fi

    if [[ $cur == --*=* ]]; then
        case $cur in
            --json=*) found='short pretty off' ;;
            --bus=*) found='system session' ;;
            --cache=*) found='none writeback writethrough' ;;
            --type=*) found='file block ram null' ;;
            --block-size=*) found='512 4096' ;;
            --on=*) found='read write flush unmap zero map prefetch copy all' ;;
            --error=*) found='EAGAIN EBUSY EDQUOT EINTR EIO ENODEV ENOMEM ENOSPC ENXIO EROFS ETIMEDOUT none' ;;
            --interface=*) found=$(cd /sys/class/net && echo *) ;;
            --path=*)
                cur=${cur#*=}
                compopt -o filenames 2> /dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                return
                ;;
            --group=*) [ "$noun" = access ] && found=$(_lunctl_names group Name "${bus[@]}") ;;
            --target=*) found=$(_lunctl_names target Name "${bus[@]}") ;;
        esac
        mapfile -t COMPREPLY < <(compgen -P "${cur%%=*}=" -W "$found" -- "${cur#*=}")
        declare -F __ltrim_colon_completions > /dev/null && __ltrim_colon_completions "$cur"
        return
    elif [[ $cur == -* ]]; then
        found="$(cut -d' ' -f3- <<< "$row") $global"
    elif [ $position -eq 0 ]; then
        found=$(cut -d' ' -f1 <<< "$table" | sort -u)
    elif [ $position -eq 1 ]; then
        found=$(grep "^$noun " <<< "$table" | cut -d' ' -f2)
    else
        case "$noun $verb $position" in
            export\ *\ 2)
                compopt -o filenames 2> /dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                return
                ;;
            backstore\ show\ 2 | backstore\ delete\ 2 | backstore\ flush\ 2 | backstore\ verify\ 2 | lun\ add\ 3)
                found=$(_lunctl_names backstore Name "${bus[@]}")
                ;;
            isns\ set\ 2) found=off ;;
            portal\ remove\ 2 | portal\ show\ 2 | portal\ pause\ 2 | portal\ resume\ 2) found=$(_lunctl_portals "${bus[@]}") ;;
            session\ list\ * | job\ list\ *) ;;
            job\ *\ 2) found=$(_lunctl_names job Number "${bus[@]}") ;;
            session\ *\ 2) found=$(_lunctl_names session Tsih "${bus[@]}") ;;
            target\ create\ * | target\ list\ *) ;;
            target\ auth\ 3 | discovery\ auth\ 2) found='chap none' ;;
            chap\ algorithms\ *) found='SHA3-256 SHA-256 SHA1 MD5' ;;
            group\ create\ *) ;;
            account\ *\ 2) found="discovery $(_lunctl_names target Name "${bus[@]}")" ;;
            account\ remove\ 3) found=$(_lunctl_names account ChapUser "${bus[@]}" | sort -u) ;;
            group\ *\ 2) found=$(_lunctl_names group Name "${bus[@]}") ;;
            access\ *\ 3) found=$(_lunctl_names access Who "${bus[@]}" | grep -v '^(others)$' | sort -u) ;;
            target\ *\ 2 | lun\ *\ 2 | portal\ alua\ 2 | access\ *\ 2 | stats\ *) found=$(_lunctl_names target Name "${bus[@]}") ;;
        esac
    fi

    mapfile -t COMPREPLY < <(compgen -W "$found" -- "$cur")
    declare -F __ltrim_colon_completions > /dev/null && __ltrim_colon_completions "$cur"
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2> /dev/null
    return 0
}

complete -F _lunctl lunctl
