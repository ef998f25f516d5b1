"""The components that come with medseg: one a file, offered through the same hooks as anyone's."""
