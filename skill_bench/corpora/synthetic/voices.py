"""The espeak-ng variants that sound like somebody: no robots, whispers, demons or long echoes."""

VARIANTS = (
    "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb",
    "david", "Denis", "Diogo", "ed", "edward", "edward2", "f1", "f2", "f3", "f4", "f5", "Gene", "grandma", "grandpa",
    "gustave", "ian", "iven2", "iven3", "Jacky", "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "Lee",
    "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Marco", "Mario", "max", "Michael", "michel", "Mike",
    "Nguyen", "norbert", "pablo", "paul", "pedro", "quincy", "Reed", "rob", "sandro", "shelby", "steph", "steph3",
    "travis", "victor", "zac",
)  # fmt: skip
