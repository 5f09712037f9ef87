# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kvet_global_optspecs
    string join \n v/verbose q/quiet h/help V/version
end

function __fish_kvet_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kvet_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kvet_using_subcommand
    set -l cmd (__fish_kvet_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kvet -n "__fish_kvet_needs_command" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_needs_command" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_needs_command" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_needs_command" -s V -l version -d 'Print version'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "run" -d 'Run a job: build its kernels, try them, and give the verdict'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "check" -d 'Run a job on the series that a mail is of, and print what `b4 review` shows'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "watch" -d 'Run a job on a kernel tree again whenever a file of it is saved'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "plan" -d 'Tell in which parts machines can share a run, for CI services'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "join" -d 'Make one run of its parts, and give the verdict'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "bisect" -d 'Find the commit, release, patch or option that brought or cured a bug'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "new" -d 'Make a job of one\'s own, with a comment on each of its keys'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "list" -d 'List jobs, workloads, patch series or Kconfig fragments, and what each is for'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "export" -d 'Write a patch series as mails, for `git send-email`'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "judge" -d 'Give the verdict again from what a run recorded, with today\'s rules'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "report" -d 'Print a run\'s report in one of several formats'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "history" -d 'Show what runs came to over time: rates, findings, trends'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "compare" -d 'Show what is different in a second run'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "bundle" -d 'Pack a trial for others: its kernel and all it takes to see it again'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "replay" -d 'Carry out a bundle\'s trial again, on its kernel or another'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "shell" -d 'Boot an arm\'s kernel in the same guest, with a shell on the console'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "scan" -d 'Find findings in any kernel log'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "cluster" -d 'Start, watch and stop a job\'s cluster by hand'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "cache" -d 'List or prune what kvet keeps between runs'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "doctor" -d 'Tell what this host lacks, and mend it'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "schema" -d 'Print the JSON schema of job files, for editors'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "completions" -d 'Print what a shell reads to complete kvet\'s arguments'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "man" -d 'Write the manual pages'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "trial" -d 'Run one attempt at a trial, for drivers'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "batch" -d 'Do a host\'s part of a run, for drivers'
complete -c kvet -n "__fish_kvet_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l kernel -d 'The kernel to test instead of the job\'s: a version, a directory, ...' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l patch -d 'Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l series -d 'The same with a directory of patches, or commits such as v7.3..HEAD of the tree that --kernel names or kvet is in' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l message-id -d 'The same with the series that this mail is of: a patch of it, its cover letter, or a reply; b4 gets it from lore.kernel.org (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l from -d 'Where --message-id looks instead: a mailbox, a maildir, a public-inbox, or the address of a mirror of lore.kernel.org' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l config -d 'Configure the kernels as this whole .config says, with what the job needs added' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l arm -d 'Run only this arm (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l workload -d 'Run only this workload (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l trials -d 'Trials of each arm and workload, instead of the job\'s; at most, with --until' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l until -d 'Go on until the verdict is this sure, such as 95%' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l jobs -d 'Trials at a time [default: as many as the host has room for]' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l on -d 'Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l spool -d 'A directory that driver and Slurm\'s nodes share, or none, if they share nothing [default: the run directory]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l silence -d 'How long a host may say nothing before its trials go elsewhere [default: 1m]' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l host-program -d 'The kvet that hosts run, if this one does not run there' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l executor -d 'Where trials run, for tests of kvet itself' -r -f -a "here\t'In this process'
processes\t'Each in a process of its own'"
complete -c kvet -n "__fish_kvet_using_subcommand run" -l resume -d 'Go on with a run that was killed or interrupted: its directory, its id, the beginning or the end of that, or `latest`' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l part -d 'Run only this part of it, such as 2/6: `kvet plan` tells which there are' -r
complete -c kvet -n "__fish_kvet_using_subcommand run" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand run" -l out -d 'The run directory [default: one of its own in `$XDG_STATE_HOME/kvet/runs`]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand run" -l coverage -d 'Tell which of the lines that the patches change the trials executed'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l dump -d 'Keep the memory of guests that show something, for crash and drgn: the first two of an arm'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l setup -d 'Install what the host lacks first'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l if-new -d 'Only if there is something new to ask: another kernel, or another job'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l force -d 'With --if-new, nevertheless'
complete -c kvet -n "__fish_kvet_using_subcommand run" -l dry-run -d 'Print the plan and do nothing'
complete -c kvet -n "__fish_kvet_using_subcommand run" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand run" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand check" -l kernel -d 'The kernel to test instead of the job\'s: a version, a directory, ...' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l patch -d 'Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand check" -l series -d 'The same with a directory of patches, or commits such as v7.3..HEAD of the tree that --kernel names or kvet is in' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l message-id -d 'The same with the series that this mail is of: a patch of it, its cover letter, or a reply; b4 gets it from lore.kernel.org (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l from -d 'Where --message-id looks instead: a mailbox, a maildir, a public-inbox, or the address of a mirror of lore.kernel.org' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l config -d 'Configure the kernels as this whole .config says, with what the job needs added' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand check" -l arm -d 'Run only this arm (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l workload -d 'Run only this workload (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l trials -d 'Trials of each arm and workload, instead of the job\'s; at most, with --until' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l until -d 'Go on until the verdict is this sure, such as 95%' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l jobs -d 'Trials at a time [default: as many as the host has room for]' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l on -d 'Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l spool -d 'A directory that driver and Slurm\'s nodes share, or none, if they share nothing [default: the run directory]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand check" -l silence -d 'How long a host may say nothing before its trials go elsewhere [default: 1m]' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l host-program -d 'The kvet that hosts run, if this one does not run there' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand check" -l executor -d 'Where trials run, for tests of kvet itself' -r -f -a "here\t'In this process'
processes\t'Each in a process of its own'"
complete -c kvet -n "__fish_kvet_using_subcommand check" -l url -d 'Where the run\'s report can be read, for whoever reads the result' -r
complete -c kvet -n "__fish_kvet_using_subcommand check" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand check" -l out -d 'The run directory [default: one of its own in `$XDG_STATE_HOME/kvet/runs`]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand check" -l coverage -d 'Tell which of the lines that the patches change the trials executed'
complete -c kvet -n "__fish_kvet_using_subcommand check" -l dump -d 'Keep the memory of guests that show something, for crash and drgn: the first two of an arm'
complete -c kvet -n "__fish_kvet_using_subcommand check" -l setup -d 'Install what the host lacks first'
complete -c kvet -n "__fish_kvet_using_subcommand check" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand check" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l kernel -d 'The kernel to test instead of the job\'s: a version, a directory, ...' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l patch -d 'Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l series -d 'The same with a directory of patches, or commits such as v7.3..HEAD of the tree that --kernel names or kvet is in' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l message-id -d 'The same with the series that this mail is of: a patch of it, its cover letter, or a reply; b4 gets it from lore.kernel.org (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l from -d 'Where --message-id looks instead: a mailbox, a maildir, a public-inbox, or the address of a mirror of lore.kernel.org' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l config -d 'Configure the kernels as this whole .config says, with what the job needs added' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l arm -d 'Run only this arm (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l workload -d 'Run only this workload (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l trials -d 'Trials of each arm and workload, instead of the job\'s; at most, with --until' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l until -d 'Go on until the verdict is this sure, such as 95%' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l jobs -d 'Trials at a time [default: as many as the host has room for]' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l on -d 'Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l spool -d 'A directory that driver and Slurm\'s nodes share, or none, if they share nothing [default: the run directory]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l silence -d 'How long a host may say nothing before its trials go elsewhere [default: 1m]' -r
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l host-program -d 'The kvet that hosts run, if this one does not run there' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l executor -d 'Where trials run, for tests of kvet itself' -r -f -a "here\t'In this process'
processes\t'Each in a process of its own'"
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l coverage -d 'Tell which of the lines that the patches change the trials executed'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l dump -d 'Keep the memory of guests that show something, for crash and drgn: the first two of an arm'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -l setup -d 'Install what the host lacks first'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l format -d 'Form of the plan on standard output' -r -f -a "text\t'Text'
json\t'JSON'
github\t'Outputs of a GitHub Actions step: a matrix of parts, and the runs\' names'
gitlab\t'A child pipeline of GitLab\'s'"
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l parts -d 'How many parts, at most [default: one for each kernel]' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l kernels -d 'A run on each of these kernels, as --kernel takes them: `longterm,latest-stable`' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l arm -d 'Only this arm (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l workload -d 'Only this workload (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l trials -d 'Trials of each arm and workload, instead of the job\'s; at most, with --until' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l until -d 'Go on until the verdict is this sure, such as 95%: always one part' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l kernel -d 'The kernel to test instead of the job\'s: a version, a directory, ...' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l patch -d 'Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l series -d 'The same with a directory of patches, or commits such as v7.3..HEAD of the tree that --kernel names or kvet is in' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l message-id -d 'The same with the series that this mail is of: a patch of it, its cover letter, or a reply; b4 gets it from lore.kernel.org (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l from -d 'Where --message-id looks instead: a mailbox, a maildir, a public-inbox, or the address of a mirror of lore.kernel.org' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l config -d 'Configure the kernels as this whole .config says, with what the job needs added' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l include -d 'The file with the jobs\' templates that GitLab\'s pipeline includes' -r
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l if-new -d 'Only if there is something new to ask: another kernel, or another job'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l force -d 'With --if-new, nevertheless'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -l coverage -d 'Tell which of the lines that the patches change the trials executed'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand join" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand join" -l out -d 'The directory of the whole run' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand join" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand join" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand join" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l git -d 'Search the commits of this repository, between --good and --bad' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l good -d 'The end without the bug: a commit, a branch, a tag' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l bad -d 'The end with the bug' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l versions -d 'Search releases: 6.1.192,6.12.117,… or debian:6.1..7.3; the first is good' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l patches -d 'Search the patches of the arm; with a name those of this series of it, and every kernel has the others' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l config -d 'Search the options in which two configurations differ' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l arm -d 'The arm whose kernel is varied [default: the first control]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l workload -d 'The workload of every trial [default: the arm\'s first]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l every-boot -d 'Take it that the bug shows in every boot that has it [default: if the job\'s `rate` or all that is known of earlier runs says so]' -r -f -a "true\t''
false\t''"
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l confidence -d 'Stop when the answer is so likely, in percent' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l jobs -d 'Boots at a time [default: as many as the host has processors for]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l max-builds -d 'Build no more kernels than this' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l max-boots -d 'Boot no more often than this' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l ahead -d 'Build the kernel that is likely wanted next while others boot [default: if the host has processors to spare]' -r -f -a "always\t''
never\t''"
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l on -d 'Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l spool -d 'A directory that driver and Slurm\'s nodes share, or none, if they share nothing [default: the run directory]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l silence -d 'How long a host may say nothing before its trials go elsewhere [default: 1m]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l host-program -d 'The kvet that hosts run, if this one does not run there' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l out -d 'The directory of the bisection [default: in kvet\'s own place, as of runs]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l first-parent -d 'Follow only the first parent of merges'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l fixed -d 'Find what cured the bug: the older end is bad and the newer one good'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l any -d 'Count any finding, not the target\'s alone'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -l amplify -d 'Run trials in the most telling of the ways that the job\'s `amplify` allows'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "resume" -d 'Go on with a bisection that was stopped, killed or corrected'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "log" -d 'Print what is sure in the format of `git bisect log`'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "good" -d 'Take it that a candidate does not have the bug'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "bad" -d 'Take it that a candidate has the bug'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "skip" -d 'Do not test a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "forget" -d 'Forget all that was seen of a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and not __fish_seen_subcommand_from resume log good bad skip forget help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l jobs -d 'Boots at a time [default: as many as the host has processors for]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l max-builds -d 'Build no more kernels than this' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l max-boots -d 'Boot no more often than this' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l ahead -d 'Build the kernel that is likely wanted next while others boot [default: if the host has processors to spare]' -r -f -a "always\t''
never\t''"
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l on -d 'Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l spool -d 'A directory that driver and Slurm\'s nodes share, or none, if they share nothing [default: the run directory]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l silence -d 'How long a host may say nothing before its trials go elsewhere [default: 1m]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l host-program -d 'The kvet that hosts run, if this one does not run there' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from log" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from log" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from log" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from log" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from good" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from good" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from good" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from good" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from bad" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from bad" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from bad" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from bad" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from skip" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from skip" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from skip" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from skip" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from forget" -l in -d 'The bisection: its directory, its id, the beginning or the end of that [default: the one that began last]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from forget" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from forget" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "resume" -d 'Go on with a bisection that was stopped, killed or corrected'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "log" -d 'Print what is sure in the format of `git bisect log`'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "good" -d 'Take it that a candidate does not have the bug'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "bad" -d 'Take it that a candidate has the bug'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "skip" -d 'Do not test a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Forget all that was seen of a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand bisect; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand new" -l from -d 'The job to set out from: a file, or the name of one that comes with kvet' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand new" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand new" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand new" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand list" -l format -d 'Form of the list on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand list" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand list" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand export" -l kernel -d 'The kernel whose patches are wanted; the newest that the series is for unless said' -r
complete -c kvet -n "__fish_kvet_using_subcommand export" -l run -d 'A run whose table of counts goes into the cover letter' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand export" -l from -d 'Author and sender; git\'s user.name and user.email unless said' -r
complete -c kvet -n "__fish_kvet_using_subcommand export" -l reroll -d 'Which time the series is sent' -r
complete -c kvet -n "__fish_kvet_using_subcommand export" -l git -d 'The repository that the series is to apply to' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand export" -l base -d 'The revision of that repository which the series is for' -r
complete -c kvet -n "__fish_kvet_using_subcommand export" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand export" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand export" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand judge" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand judge" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand judge" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand judge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand report" -l format -d 'Form of the report' -r -f -a "human\t'Text for a terminal'
json\t'The whole report as data; its schema is schema/report.json'
junit\t'JUnit XML, for CI services'
ktap\t'The kernel\'s test protocol'
kcidb\t'A submission to the `KernelCI` project\'s database'
markdown\t'For the summary of a CI job'
github\t'Annotations of a GitHub Actions step'
patchwork\t'A check of patchwork\'s'
mail\t'Text for a mail to a list'
html\t'A page with time lines and consoles'"
complete -c kvet -n "__fish_kvet_using_subcommand report" -l all -d 'Write the report in every form into this directory' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand report" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand report" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -s n -l runs -d 'Runs that are listed, the last one first' -r
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -l json -d 'The same as --format json'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -a "prune" -d 'Remove run directories in kvet\'s own place that are old or too much'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -a "add" -d 'Take run directories in, wherever they lie: from another host, from CI'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -a "rebuild" -d 'Make the index anew from what is kept of each run'
complete -c kvet -n "__fish_kvet_using_subcommand history; and not __fish_seen_subcommand_from prune add rebuild help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -l in -d 'In this directory: of what lies in it, only records of runs are removed [default: kvet\'s own place]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -l keep -d 'Remove what was last used longer ago than this, such as 14d [default: 30d, without --max-size]' -r
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -l max-size -d 'Then remove what was used longest ago until this is not exceeded, such as 40GiB' -r
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -l all -d 'Remove all but those that are being written'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -l dry-run -d 'Only say what would be removed'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from rebuild" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from rebuild" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from rebuild" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Remove run directories in kvet\'s own place that are old or too much'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "add" -d 'Take run directories in, wherever they lie: from another host, from CI'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "rebuild" -d 'Make the index anew from what is kept of each run'
complete -c kvet -n "__fish_kvet_using_subcommand history; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand compare" -l format -d 'Form of the result on standard output' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand compare" -l json -d 'The same as --format json'
complete -c kvet -n "__fish_kvet_using_subcommand compare" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand compare" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -l trial -d 'The trial, as ARM/WORKLOAD/NUMBER [default: the one that tells most]' -r
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -l out -d 'Where it goes: an archive if it ends in .tar.gz, a directory otherwise [default: JOB-ARM-WORKLOAD-NUMBER.tar.gz]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -l with -d 'Pack this, too (may be repeated)' -r -f -a "vmlinux\t'The kernel with its symbols, for gdb, crash and drgn'
memory-dump\t'The guest\'s memory, which has its key to the cluster in it'"
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand bundle" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand replay" -l config -d 'That kernel\'s .config [default: what lies beside it]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand replay" -l trials -d 'How many trials' -r
complete -c kvet -n "__fish_kvet_using_subcommand replay" -l accel -d 'What runs the guest' -r -f -a "auto\t'KVM if it runs a kernel here, emulation otherwise'
kvm\t'KVM or an error'
tcg\t'Emulation'"
complete -c kvet -n "__fish_kvet_using_subcommand replay" -l out -d 'The run directory [default: kvet-repro-TIME]' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand replay" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand replay" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand shell" -l arm -d 'The arm whose kernel to boot [default: the job\'s only one]' -r
complete -c kvet -n "__fish_kvet_using_subcommand shell" -l gdb -d 'Let gdb look into the guest; the command for it is told'
complete -c kvet -n "__fish_kvet_using_subcommand shell" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand shell" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand shell" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand scan" -l format -d 'How findings are printed: as text, or as one JSON object per line' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand scan" -l corpus -d 'Scan the cases (`id`, `log`) of a JSON-lines file and print a line each' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand scan" -l vmlinux -d 'The kernel\'s uncompressed image with symbols: frames get file and line' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand scan" -l tree -d 'The tree the image was built from: frames are shown with their source' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand scan" -l mute -d 'Pass over findings with such a title: `*` is anything, `/.../` a regular expression (may be repeated)' -r
complete -c kvet -n "__fish_kvet_using_subcommand scan" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand scan" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand scan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -f -a "up" -d 'Starts a cluster and keeps it until Ctrl-C or `kvet cluster down`'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -f -a "status" -d 'Tells how the cluster is and who uses it'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -f -a "down" -d 'Ends the cluster'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and not __fish_seen_subcommand_from up status down help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l mon -d 'Monitors' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l mgr -d 'Managers' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l osd -d 'Object storage daemons' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l mds -d 'Metadata servers' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l max-mds -d 'Metadata servers that are active at a time' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l option -d 'One more option for ceph.conf' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l address -d 'The cluster\'s address in its private network' -r
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l logs -d 'Keep the daemons\' logs here' -r -F
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l format -d 'For people or for programs' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l bluestore -d 'Keep objects in files as production does, not in memory'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -l vstart -d 'Let Ceph\'s vstart.sh start the daemons'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from status" -l format -d 'For people or for programs' -r -f -a "human\t'Text'
json\t'JSON'"
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from down" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from down" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from down" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "up" -d 'Starts a cluster and keeps it until Ctrl-C or `kvet cluster down`'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "status" -d 'Tells how the cluster is and who uses it'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "down" -d 'Ends the cluster'
complete -c kvet -n "__fish_kvet_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -f -a "list" -d 'Show what the caches hold, largest first'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -f -a "prune" -d 'Remove what was not used for a while, or is too much, and is not in use now'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and not __fish_seen_subcommand_from list prune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -l keep -d 'Remove what was last used longer ago than this, such as 14d [default: 30d, without --max-size]' -r
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -l max-size -d 'Then remove what was used longest ago until this is not exceeded, such as 40GiB' -r
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -l all -d 'Remove everything that is not in use'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -l dry-run -d 'Only say what would be removed'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show what the caches hold, largest first'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Remove what was not used for a while, or is too much, and is not in use now'
complete -c kvet -n "__fish_kvet_using_subcommand cache; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand doctor" -l fix -d 'Install what is missing'
complete -c kvet -n "__fish_kvet_using_subcommand doctor" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand doctor" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand schema" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand schema" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kvet -n "__fish_kvet_using_subcommand completions" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand completions" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand completions" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand man" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand man" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand man" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand trial" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand trial" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand trial" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand batch" -s v -l verbose -d 'Tell on standard error what kvet does itself (twice: all of it)'
complete -c kvet -n "__fish_kvet_using_subcommand batch" -s q -l quiet -d 'Tell nothing of what goes on but warnings'
complete -c kvet -n "__fish_kvet_using_subcommand batch" -s h -l help -d 'Print help'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "run" -d 'Run a job: build its kernels, try them, and give the verdict'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "check" -d 'Run a job on the series that a mail is of, and print what `b4 review` shows'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "watch" -d 'Run a job on a kernel tree again whenever a file of it is saved'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "plan" -d 'Tell in which parts machines can share a run, for CI services'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "join" -d 'Make one run of its parts, and give the verdict'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "bisect" -d 'Find the commit, release, patch or option that brought or cured a bug'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "new" -d 'Make a job of one\'s own, with a comment on each of its keys'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "list" -d 'List jobs, workloads, patch series or Kconfig fragments, and what each is for'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "export" -d 'Write a patch series as mails, for `git send-email`'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "judge" -d 'Give the verdict again from what a run recorded, with today\'s rules'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "report" -d 'Print a run\'s report in one of several formats'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "history" -d 'Show what runs came to over time: rates, findings, trends'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "compare" -d 'Show what is different in a second run'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "bundle" -d 'Pack a trial for others: its kernel and all it takes to see it again'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "replay" -d 'Carry out a bundle\'s trial again, on its kernel or another'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "shell" -d 'Boot an arm\'s kernel in the same guest, with a shell on the console'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "scan" -d 'Find findings in any kernel log'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "cluster" -d 'Start, watch and stop a job\'s cluster by hand'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "cache" -d 'List or prune what kvet keeps between runs'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "doctor" -d 'Tell what this host lacks, and mend it'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "schema" -d 'Print the JSON schema of job files, for editors'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "completions" -d 'Print what a shell reads to complete kvet\'s arguments'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "man" -d 'Write the manual pages'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "trial" -d 'Run one attempt at a trial, for drivers'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "batch" -d 'Do a host\'s part of a run, for drivers'
complete -c kvet -n "__fish_kvet_using_subcommand help; and not __fish_seen_subcommand_from run check watch plan join bisect new list export judge report history compare bundle replay shell scan cluster cache doctor schema completions man trial batch help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "resume" -d 'Go on with a bisection that was stopped, killed or corrected'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "log" -d 'Print what is sure in the format of `git bisect log`'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "good" -d 'Take it that a candidate does not have the bug'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "bad" -d 'Take it that a candidate has the bug'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "skip" -d 'Do not test a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from bisect" -f -a "forget" -d 'Forget all that was seen of a candidate'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from history" -f -a "prune" -d 'Remove run directories in kvet\'s own place that are old or too much'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from history" -f -a "add" -d 'Take run directories in, wherever they lie: from another host, from CI'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from history" -f -a "rebuild" -d 'Make the index anew from what is kept of each run'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "up" -d 'Starts a cluster and keeps it until Ctrl-C or `kvet cluster down`'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "status" -d 'Tells how the cluster is and who uses it'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "down" -d 'Ends the cluster'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from cache" -f -a "list" -d 'Show what the caches hold, largest first'
complete -c kvet -n "__fish_kvet_using_subcommand help; and __fish_seen_subcommand_from cache" -f -a "prune" -d 'Remove what was not used for a while, or is too much, and is not in use now'
