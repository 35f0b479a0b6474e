"""The one error that means: the user's input is wrong, and this is how to mend it."""


class InputError(Exception):
    """Bad input: one line of the form "where: what; remedy".

    `where` names the file, row, column or config key. Commands print the line without a stack
    trace and exit with code 2; anything else that is raised is a fault of the program.
    """
