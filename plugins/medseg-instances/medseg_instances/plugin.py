"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_heads() -> Iterator[Component]:
    """Ways to tell the objects of a label apart."""
    yield Component(
        "border-core",
        target="medseg_instances.border_core:BorderCore",
        summary="Objects as cores within borders, told by the network as classes.",
    )
    yield Component(
        "distance-watershed",
        target="medseg_instances.distance_watershed:DistanceWatershed",
        summary="Objects as hills of a depth that the network tells, cut apart by a watershed.",
    )
    yield Component(
        "flows",
        target="medseg_instances.flows:Flows",
        summary="Objects as basins: the network tells the way to the centre of each, and voxels follow it.",
    )
    yield Component(
        "stardist",
        target="medseg_instances.star_convex:StarConvex",
        summary="Objects as star-convex shapes of rays that the network tells, the best of which stay.",
    )
    yield Component(
        "embedding",
        target="medseg_instances.embedding:Embedding",
        summary="Objects as clusters of points that the network gives to voxels, found by mean shift.",
    )


@hookimpl
def medseg_segmenters() -> Iterator[Component]:
    """What finds objects by itself."""
    yield Component(
        "detector",
        target="medseg_instances.detector.segmenter:Detector",
        summary="Objects by boxes, each with a mask: Mask R-CNN, or RetinaNet with masks.",
    )


@hookimpl
def medseg_losses() -> Iterator[Component]:
    """What those heads are trained with."""
    yield Component(
        "trimap",
        target="medseg_instances.trimap:Trimap",
        summary="Dice and cross-entropy of background, cores and borders, for border-core.",
    )
    yield Component(
        "labels-and-field",
        target="medseg_instances.labels_and_field:LabelsAndField",
        summary="Dice and cross-entropy of labels, smooth L1 of a field in objects, for distance-watershed.",
    )
    yield Component(
        "flow",
        target="medseg_instances.flow_loss:FlowLoss",
        summary="Dice and cross-entropy of labels, squared distance of flows in objects, for flows.",
    )
    yield Component(
        "star-convex",
        target="medseg_instances.star_loss:StarConvexLoss",
        summary="Dice and cross-entropy of labels and depth, lengths of rays in objects, for stardist.",
    )
    yield Component(
        "discriminative",
        target="medseg_instances.discriminative:Discriminative",
        summary="Dice and cross-entropy of labels, points of objects together and apart, for embedding.",
    )
