"""`taskctl`: a guest's tasks from a terminal. Needs the extra `taskd[host]`.

    app          the commands, their order and their one-line help
    commands     what makes a command: shared options, help, exit code
    session      the guest that a command is for
    complaints   what went wrong, and what to do next
    screen, table, escapes    text for people, and what an agent's text may do to their terminal
    live, views, dialogue     a turn as it happens; tasks, sessions, models; questions
    tasks, talk, answers, tail, guest, conformance, completion, demo    the commands

A command's module imports click and little else at its top, so that help and shell completion answer at once; what
talks to the guest is imported when it is called.
"""
