# Every set becomes an array, which jobs map into memory, with labels and metadata. The rules of a
# problem make the sets: drawn images (data_world), image folders (data_folders), texts (data_text).


include: plan.problem.rules(config["data"])
