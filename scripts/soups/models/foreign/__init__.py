"""Reading files made elsewhere as state dicts, without running code in them."""
