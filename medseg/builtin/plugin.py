"""Records of the built-in components; what they point at is imported when a pipeline names it."""

from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_preprocessors() -> Iterable[Component]:
    """Offer the built-in steps on images."""
    here = "medseg.builtin.preprocess"
    yield Component(
        "reorient",
        f"{here}.reorient:Reorient",
        "Turn the axes to an orientation such as RAS; no value changes.",
    )
    yield Component(
        "resample", f"{here}.resample:Resample", "Bring voxels to a spacing in mm; the extent stays the same."
    )
    yield Component(
        "crop-foreground",
        f"{here}.crop_foreground:CropForeground",
        "Crop to what is brighter than a threshold, with a margin in mm.",
    )
    yield Component(
        "crop-body", f"{here}.crop_body:CropBody", "Crop to the body, with a margin, on edges that stay put."
    )
    yield Component(
        "pad", f"{here}.pad:Pad", "Add voxels around the image: a margin in mm, a minimum shape, or both."
    )
    yield Component("clip", f"{here}.clip:Clip", "Limit intensities from below, above or both.")
    yield Component("ct-window", f"{here}.ct_window:CtWindow", "Scale a range of Hounsfield units to 0 to 1.")
    yield Component(
        "dark-background",
        f"{here}.dark_background:DarkBackground",
        "The negative of pictures whose background is bright, so that objects are bright in all.",
    )
    yield Component(
        "rgb", f"{here}.rgb:Rgb", "Three channels of every picture, whether it is grey or in colours."
    )
    yield Component(
        "z-score", f"{here}.z_score:ZScore", "Shift and scale intensities to mean 0 and standard deviation 1."
    )
    yield Component(
        "percentile-rescale",
        f"{here}.percentile_rescale:PercentileRescale",
        "Scale the range between two percentiles to 0 to 1.",
    )


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    """Offer the built-in segmenters."""
    yield Component(
        "threshold",
        "medseg.builtin.segment.threshold:Threshold",
        "Label a range of intensities, or what Otsu's threshold separates.",
    )
    yield Component(
        "network",
        "medseg.builtin.segment.network:NetworkSegmenter",
        "A trained network, or several averaged, slid over the volume.",
    )


@hookimpl
def medseg_networks() -> Iterable[Component]:
    """Offer the built-in networks."""
    here = "medseg.builtin.network"
    yield Component("unet", f"{here}.unet:Unet", "U-Net with strided convolutions, plain or residual.")
    yield Component(
        "attention-unet",
        f"{here}.attention_unet:AttentionUnet",
        "U-Net whose skip connections are gated by attention.",
    )
    yield Component(
        "dynunet", f"{here}.dynunet:DynUnet", "The U-Net of nnU-Net, with kernels and strides for each axis."
    )
    yield Component(
        "residual-unet",
        f"{here}.residual_unet:ResidualUnet",
        "U-Net with an encoder of residual blocks, which may be several at each level.",
    )


@hookimpl
def medseg_heads() -> Iterable[Component]:
    """Offer the built-in heads."""
    here = "medseg.builtin.head"
    yield Component(
        "softmax", f"{here}.softmax:Softmax", "Labels that exclude each other: the highest channel wins."
    )
    yield Component(
        "sigmoid", f"{here}.sigmoid:Sigmoid", "Labels that may overlap: each channel is a yes or no."
    )


@hookimpl
def medseg_postprocessors() -> Iterable[Component]:
    """Offer the built-in steps on labels."""
    here = "medseg.builtin.postprocess"
    yield Component(
        "keep-largest", f"{here}.keep_largest:KeepLargest", "Keep the largest connected parts of each label."
    )
    yield Component(
        "remove-small",
        f"{here}.remove_small:RemoveSmall",
        "Remove connected parts smaller than a volume in mL.",
    )
    yield Component(
        "fill-holes",
        f"{here}.fill_holes:FillHoles",
        "Fill cavities enclosed by a label, in space or slice by slice.",
    )
    yield Component(
        "open", f"{here}.opening:Opening", "Remove parts of a label thinner than about twice a radius in mm."
    )
    yield Component(
        "close", f"{here}.closing:Closing", "Close gaps of a label narrower than about twice a radius in mm."
    )
    yield Component("erode", f"{here}.erosion:Erosion", "Take a rim of a radius in mm off a label.")
    yield Component("dilate", f"{here}.dilation:Dilation", "Put a rim of a radius in mm around a label.")
    yield Component(
        "smooth-surface", f"{here}.smoothing:Smoothing", "Smooth the outline of a label and keep its volume."
    )
    yield Component(
        "within",
        f"{here}.within:Within",
        "Keep what belongs to another label only where that label is, as a tumour in its organ.",
    )
    yield Component(
        "sides",
        f"{here}.sides:Sides",
        "Exchange left and right labels of parts on the wrong side of the body.",
    )
    yield Component(
        "split", f"{here}.split:Split", "Make the parts of a label objects, cut where they touch by a waist."
    )


@hookimpl
def medseg_measurements() -> Iterable[Component]:
    """Offer the built-in measurements."""
    yield Component(
        "volumes",
        "medseg.builtin.measure.volumes:Volumes",
        "Volume, intensity, bounding box and centroid of each label; truncated organs are flagged.",
    )
    here = "medseg.builtin.measure"
    yield Component(
        "shape", f"{here}.shape:Shape", "Surface area, sphericity and principal axes of each label."
    )
    yield Component(
        "diameters",
        f"{here}.diameters:Diameters",
        "Longest axial diameter, the one perpendicular to it, and the longest in space.",
    )
    yield Component(
        "lesions",
        f"{here}.lesions:Lesions",
        "Each lesion by itself: size, diameters, place, host, distances.",
    )
    yield Component(
        "objects",
        f"{here}.objects:Objects",
        "Each object that a model tells apart: score, size, centroid, box, axes.",
    )
    yield Component(
        "volume-interval",
        f"{here}.volume_interval:VolumeInterval",
        "The volume of each label between what is surely it and what may be it.",
    )
    yield Component(
        "histogram",
        f"{here}.histogram:Histogram",
        "How much of each label has an intensity in each of some ranges.",
    )
    yield Component(
        "confidence",
        f"{here}.confidence:Confidence",
        "How sure the network is of each label where it has put it.",
    )
    yield Component(
        "quality", f"{here}.quality:Quality", "Whether each label looks as one expects, and if not, why."
    )
    yield Component(
        "order",
        f"{here}.order:Order",
        "Whether labels follow each other as anatomy has them, as vertebrae.",
    )


@hookimpl
def medseg_writers() -> Iterable[Component]:
    """Offer the built-in writers."""
    here = "medseg.builtin.write"
    yield Component("nifti", f"{here}.nifti:Nifti", "The segmentation as NIfTI on the grid of the input.")
    yield Component(
        "probabilities",
        f"{here}.probabilities:Probabilities",
        "The probability of each label as NIfTI on the grid of the input.",
    )
    yield Component(
        "uncertainty", f"{here}.uncertainty:Uncertainty", "Entropy as NIfTI: where the network is unsure."
    )
    yield Component(
        "disagreement", f"{here}.disagreement:Disagreement", "Where the members of an ensemble disagree."
    )
    yield Component(
        "seg-nrrd",
        f"{here}.seg_nrrd:SegNrrd",
        "The segmentation for 3D Slicer: names, colours, codes and layers in one file.",
    )
    yield Component(
        "itksnap-labels",
        f"{here}.itksnap_labels:ItksnapLabels",
        "Names and colours of labels for ITK-SNAP, beside the NIfTI files.",
    )
    yield Component("mesh", f"{here}.mesh:Mesh", "The closed surface of each label in mm, as STL or OBJ.")
    yield Component(
        "key-images",
        f"{here}.key_images:KeyImages",
        "A picture of the largest lesions with their diameters, each where it is longest.",
    )
    yield Component(
        "dicom-seg",
        f"{here}.dicom_seg:DicomSeg",
        "The segmentation as DICOM SEG on the slices of its series, read back before it is released.",
    )
    yield Component(
        "dicom-sr",
        f"{here}.dicom_sr:DicomSr",
        "The measurements as DICOM SR (TID 1500), each tied to its segment in the DICOM SEG.",
    )
    yield Component(
        "rtstruct",
        f"{here}.rtstruct:RTStruct",
        "Contours along voxel edges as DICOM RTSTRUCT, filled and compared before they are released.",
    )
    yield Component(
        "secondary-capture",
        f"{here}.secondary_capture:SecondaryCapture",
        "Pages of pictures as DICOM Secondary Capture, or PDF, for every viewer; marked as research.",
    )
    yield Component("csv", f"{here}.csv_table:Csv", "The measurements as a CSV table.")
    yield Component(
        "wide-table",
        f"{here}.wide_table:WideTable",
        "The measurements for people: a row for each label and lesion, units in column names.",
    )
    yield Component("json", f"{here}.json_table:Json", "The measurements as JSON.")
    yield Component(
        "preview", f"{here}.preview:Preview", "A picture of the labels over the image, in three planes."
    )


@hookimpl
def medseg_losses() -> Iterable[Component]:
    """Offer the built-in losses."""
    here = "medseg.builtin.loss"
    yield Component(
        "cross-entropy",
        f"{here}.cross_entropy:CrossEntropy",
        "How surprised the network is by the reference, voxel by voxel.",
    )
    yield Component("dice", f"{here}.dice:Dice", "Overlap of each label, small ones as much as large ones.")
    yield Component("dice-ce", f"{here}.dice_ce:DiceCe", "Dice and cross-entropy added, as nnU-Net has it.")
    yield Component(
        "tversky", f"{here}.tversky:Tversky", "Overlap with separate weights for what is found and missed."
    )
    yield Component("focal", f"{here}.focal:Focal", "Cross-entropy in which easy voxels count less.")
    yield Component(
        "boundary", f"{here}.boundary:Boundary", "What is found outside a label, by its distance in mm."
    )
    yield Component("sum", f"{here}.sum:Sum", "Any losses added up, each with a weight.")


@hookimpl
def medseg_metrics() -> Iterable[Component]:
    """Offer the built-in metrics."""
    here = "medseg.builtin.metric"
    yield Component("dice", f"{here}.dice:Dice", "How much of two masks is common to both, from 0 to 1.")
    yield Component("iou", f"{here}.iou:Iou", "Intersection over union of each label, from 0 to 1.")
    yield Component(
        "overall-iou",
        f"{here}.overall_iou:OverallIou",
        "Intersection over union of all cases at once: sums over sums.",
    )
    yield Component(
        "sensitivity", f"{here}.sensitivity:Sensitivity", "How much of a label was found; also called recall."
    )
    yield Component(
        "specificity", f"{here}.specificity:Specificity", "How much of what is not the label was left alone."
    )
    yield Component(
        "pixel-accuracy",
        f"{here}.pixel_accuracy:PixelAccuracy",
        "How many voxels are on the right side; near 1 for any small label.",
    )
    yield Component("hd", f"{here}.hd:Hd", "The largest distance between two surfaces, in mm.")
    yield Component(
        "hd95", f"{here}.hd95:Hd95", "How far apart two surfaces are in mm, but for the farthest 5 %."
    )
    yield Component("assd", f"{here}.assd:Assd", "The mean distance between two surfaces, in mm.")
    yield Component(
        "nsd", f"{here}.nsd:Nsd", "How much of two surfaces lies within a tolerance in mm of the other."
    )
    yield Component(
        "boundary-iou",
        f"{here}.boundary_iou:BoundaryIou",
        "Intersection over union of what lies along the borders, to a depth in mm.",
    )
    yield Component(
        "volume-error",
        f"{here}.volume_error:VolumeError",
        "How wrong a volume is: in mL and per cent, with its sign and without.",
    )
    yield Component(
        "cldice", f"{here}.cldice:Cldice", "Dice of centre lines, for vessels and other tubes, from 0 to 1."
    )
    yield Component(
        "lesion-f1",
        f"{here}.lesion_f1:LesionF1",
        "How many lesions were found, missed and made up, by a stated rule.",
    )
    yield Component(
        "panoptic-quality",
        f"{here}.panoptic_quality:PanopticQuality",
        "PQ, SQ and RQ of objects: how many were found, times how well.",
    )
    yield Component(
        "average-precision",
        f"{here}.average_precision:AveragePrecision",
        "TP / (TP + FP + FN) of objects at several IoUs, and their mean.",
    )
    yield Component(
        "ece", f"{here}.ece:Ece", "How far probabilities are from how often they come true; 0 is best."
    )
    yield Component(
        "brier", f"{here}.brier:Brier", "Mean squared distance of probabilities from the truth; 0 is best."
    )


@hookimpl
def medseg_augmentations() -> Iterable[Component]:
    """Offer the built-in augmentations: changes of places first, then changes of values."""
    here = "medseg.builtin.augment"
    yield Component(
        "flip", f"{here}.flip:Flip", "Mirror along axes, but never exchange left and right labels."
    )
    yield Component("rotate", f"{here}.rotate:Rotate", "Turn by random angles, in mm.")
    yield Component("scale", f"{here}.scale:Scale", "Make everything larger or smaller.")
    yield Component("elastic", f"{here}.elastic:Elastic", "Deform smoothly, in mm, without folds.")
    yield Component(
        "random-crop", f"{here}.random_crop:RandomCrop", "Move the patch by a share of its sides."
    )
    yield Component(
        "brightness", f"{here}.brightness:Brightness", "Multiply intensities about zero, and shift them."
    )
    yield Component(
        "contrast", f"{here}.contrast:Contrast", "Move intensities towards or away from their mean."
    )
    yield Component("gamma", f"{here}.gamma:Gamma", "Bend the scale of intensities, or of their negative.")
    yield Component("noise", f"{here}.noise:Noise", "Add Gaussian noise in proportion to the image's spread.")
    yield Component("blur", f"{here}.blur:Blur", "Smooth with a Gaussian of random width.")
    yield Component(
        "negative", f"{here}.negative:Negative", "Bright becomes dark and dark bright, in some samples."
    )
    yield Component(
        "swap-channels", f"{here}.swap_channels:SwapChannels", "Channels in another order, in some samples."
    )
    yield Component(
        "low-resolution",
        f"{here}.low_resolution:LowResolution",
        "Read on a coarser grid and interpolate back.",
    )
