# Sets: decoded images in memory-mappable arrays, one per set, shared by every model.
# `world` draws them, `folders` decodes yours; both end in the same files.

DATA = config["data"]

if DATA["source"] == "world":

    include: "data_world.smk"

else:

    include: "data_folders.smk"
