"""`taskctl demo`: everything that matters in a few seconds, with a real daemon in a temporary folder.

    command   the command
    stage     the temporary folder, the daemon in it, and the agent that plays
    script    what each kind of agent is asked
    acts      two tasks, switches, a crash and a recovery, a restart
    story     what is told, and the closing table

Nothing outside the temporary folder is touched, and nothing of it is left.
"""
