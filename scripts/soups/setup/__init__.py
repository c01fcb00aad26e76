"""New experiments: what files of models and folders of images hold, as an overlay."""
