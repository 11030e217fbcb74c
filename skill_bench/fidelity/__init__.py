"""How much of its teacher a student keeps, on speech that nothing was trained on.

One pass over the speech gathers, for each group of speakers, sums of products of states; everything else follows from
these sums: a ridge regression from a student's layer to a teacher's (`ridge`), fitted without the speakers that it is
tested on, and its R2 (`heldout`, where it says who is tested with whom) with an interval over speakers (`interval`).
`measure` says which layers belong together and makes the document.
"""
