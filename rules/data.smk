# Sets: decoded images in memory-mappable arrays, one per set, shared by every model.
# `world` draws them, `folders` decodes yours; both end in the same files.

if plan.folders is None:

    include: "data_world.smk"

else:

    include: "data_folders.smk"
