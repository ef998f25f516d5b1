"""The hooks a plugin can implement: one per kind of component, no arguments, inert records back.

Order never matters here: it comes from the pipeline file. A hook added later changes nothing for plugins that
do not implement it.
"""

from collections.abc import Iterable

import pluggy

from medseg.plugin.component import Component

__all__ = [
    "hookimpl",
    "medseg_augmentations",
    "medseg_heads",
    "medseg_losses",
    "medseg_measurements",
    "medseg_metrics",
    "medseg_models",
    "medseg_networks",
    "medseg_postprocessors",
    "medseg_preprocessors",
    "medseg_refiners",
    "medseg_segmenters",
    "medseg_writers",
]

hookspec = pluggy.HookspecMarker("medseg")
hookimpl = pluggy.HookimplMarker("medseg")


@hookspec
def medseg_preprocessors() -> Iterable[Component]:
    """Offer steps that turn one Volume into another before segmentation.

    The class at `target` subclasses `medseg.Preprocessor`; it is imported only when a pipeline names it.

        @hookimpl
        def medseg_preprocessors():
            yield Component("bias-field", "medseg_n4.bias:BiasField", "Remove the MR bias field (N4).")
    """
    return ()


@hookspec
def medseg_segmenters() -> Iterable[Component]:
    """Offer components that segment: a classical algorithm, or a foreign model format.

    The class at `target` subclasses `medseg.Segmenter`; its `open` gives a `medseg.Predictor`.

        @hookimpl
        def medseg_segmenters():
            yield Component("tissue-rules", "medseg_ct.tissue_rules:TissueRules", "CT tissues, by rules.")
    """
    return ()


@hookspec
def medseg_networks() -> Iterable[Component]:
    """Offer architectures for the segmenter `network`, in 2-D, 3-D or both.

    The class at `target` subclasses `medseg.Network`; its `build` gives an untrained `torch.nn.Module`.

        @hookimpl
        def medseg_networks():
            yield Component("vnet", "medseg_vnet.vnet:VNet", "V-Net with residual blocks.")
    """
    return ()


@hookspec
def medseg_heads() -> Iterable[Component]:
    """Offer heads: what the channels of a network mean, and how they are decoded.

    The class at `target` subclasses `medseg.Head`; its `sink` gives a `medseg.Sink`.

        @hookimpl
        def medseg_heads():
            yield Component("ordinal", "medseg_ordinal.head:Ordinal", "Grades that include one another.")
    """
    return ()


@hookspec
def medseg_refiners() -> Iterable[Component]:
    """Offer steps that improve a network's scores before labels are decided.

    The class at `target` subclasses `medseg.Refiner`; it gets a box of the scores and of the image.

        @hookimpl
        def medseg_refiners():
            yield Component("anneal", "medseg_anneal.anneal:Anneal", "Smooth scores where they are unsure.")
    """
    return ()


@hookspec
def medseg_postprocessors() -> Iterable[Component]:
    """Offer steps that improve labels on the native grid.

    The class at `target` subclasses `medseg.Postprocessor`.

        @hookimpl
        def medseg_postprocessors():
            yield Component("smooth", "medseg_smooth.smooth:Smooth", "Smooth a label, keeping its volume.")
    """
    return ()


@hookspec
def medseg_measurements() -> Iterable[Component]:
    """Offer measurements: numbers of a label or of its objects.

    The class at `target` subclasses `medseg.Measurement`.

        @hookimpl
        def medseg_measurements():
            yield Component("surface", "medseg_surface.area:SurfaceArea", "Surface area in cm2.")
    """
    return ()


@hookspec
def medseg_writers() -> Iterable[Component]:
    """Offer writers of one kind of file.

    The class at `target` subclasses `medseg.Writer`; it writes into a folder that is published once all have
    succeeded.

        @hookimpl
        def medseg_writers():
            yield Component("stl", "medseg_mesh.stl:Stl", "One STL surface per label.")
    """
    return ()


@hookspec
def medseg_losses() -> Iterable[Component]:
    """Offer losses: what training makes small.

    The class at `target` subclasses `medseg.Loss`; its `build` gives a `torch.nn.Module`.

        @hookimpl
        def medseg_losses():
            yield Component("top-k", "medseg_topk.loss:TopK", "Cross-entropy of the hardest voxels.")
    """
    return ()


@hookspec
def medseg_augmentations() -> Iterable[Component]:
    """Offer random changes of training samples.

    The class at `target` subclasses `medseg.SpatialAugmentation`, which moves the places that are read, or
    `medseg.IntensityAugmentation`, which changes values.

        @hookimpl
        def medseg_augmentations():
            yield Component("bias-field", "medseg_mr.bias:RandomBias", "A smooth change of brightness.")
    """
    return ()


@hookspec
def medseg_metrics() -> Iterable[Component]:
    """Offer metrics: how good a prediction is, against a reference.

    The class at `target` subclasses `medseg.Metric`, which compares masks, or `medseg.ScoreMetric`, which
    compares probabilities with a mask.

        @hookimpl
        def medseg_metrics():
            yield Component("cldice", "medseg_tubes.cldice:ClDice", "Overlap of centre lines.")
    """
    return ()


@hookspec
def medseg_models() -> Iterable[Component]:
    """Offer models: folders of data inside the package, ready for `--model NAME`.

    `target` is "package:folder": it holds `pipeline.yaml`, `card.yaml` and, for a trained model, weights.

        @hookimpl
        def medseg_models():
            yield Component("ct-tissue", "medseg_ct:models/ct-tissue", "Body composition of a CT, by rules.")
    """
    return ()
