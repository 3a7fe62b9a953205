"""Moves: a release goes to a ring, or back from it, or to no ring any more; one commit each.

place       a ring of one model and target, and what runs there by git
earlier     what a ring ran before, as a rollback sees it
move        what is moved, from where, on what evidence, and the commit's message
rules       what a ring asks before a promotion; `signed` and `linted` answer two of them
planned     what people see before a move
handing_over   what was published, on its way to the branch
promotion, rollback, quarantine   plan one each
carry_out   the commit, made and pushed until it is there or somebody else moved the ring
perform     plan, show, carry out
seen        what a report says of a ring; reach says what keeps Fleet from it
watching    which rings have a release that does harm; undo takes it back
ledger      what rings run by git, since when and by whom
otherwise   whether that is what a command writes of the release
by_git      what each of MLflow's aliases names by git; aliases puts them right
"""
