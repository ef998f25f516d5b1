"""What runs in the decoder process: codecs that read what a stranger's file says.

The process holds neither torch nor results. `decoder.py` of medseg.io is the other end of its pipe.
"""
