# Every set becomes an array of decoded images, which jobs map into memory. With the source `world`
# the images are drawn, and with `folders` they are decoded. Both sources write the same files.

if plan.folders is None:

    include: "data_world.smk"

else:

    include: "data_folders.smk"
