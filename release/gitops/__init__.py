"""The GitOps repository: the branch that Fleet reads, and that a move is one commit on.

git         runs git, and says what it said
branch      GitOps: fetch, push; Snapshot: the branch at one commit, read and built upon
history     which commit gave a file what it holds, and who made it
checkout    what the clone has at one of its own commits
clone       the clone itself: where it stands, and brought to a commit of the branch
gitlab      merge requests in place of pushes, and issues
"""
