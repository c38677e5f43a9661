"""The command line: arguments, tables, bars. No work is done here."""
