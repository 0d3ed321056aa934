"""Heatmap methods: ours, and those of torchcam, captum and grad-cam.

Every method takes 8-bit images with a label for each and returns maps of the images'
size as a NumPy array. Each baseline has a separate copy of the network, so that hooks
of one method do not slow down another.
"""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from _common import as_tensors
from _importances import captum_increases
from captum.attr import LayerActivation, LayerGradCam
from sklearn.utils import gen_batches
from torch import nn
from torch.nn import functional as F
from torchcam.methods import CAM, GradCAM, GradCAMpp, LayerCAM, ScoreCAM


def without_torchvision():
    """Replace a missing torchvision by a stub; grad-cam imports but does not use it."""
    names = (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.functional",
    )
    if importlib.util.find_spec("torchvision") is not None:
        names = ()
    return mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in names})


try:
    with without_torchvision():
        from pytorch_grad_cam import AblationCAM, EigenCAM, FullGrad
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
except ImportError:
    AblationCAM = None

PACKAGES = ("torchcam", "captum", "grad-cam")
LAYOUTS = {"channels_last": (False, True)}
# For methods with a single forward pass; the remaining methods run it for each filter.
FAST = {"n_at_once": (16, 64), **LAYOUTS}


class Method(NamedTuple):
    """A heatmap method.

    Attributes
    ----------
    build : callable
        Takes settings and returns a function of images and labels.
    is_ours : bool
    of_label : bool
        Whether the heatmap depends on the label.
    needs_gradients : bool
    grid : dict
        Values of the settings to choose from.
    """

    build: Callable[..., Callable]
    is_ours: bool = False
    of_label: bool = True
    needs_gradients: bool = False
    grid: Mapping[str, Any] = {}


def methods_for(models):
    """The methods that support the network of the models, by name.

    Parameters
    ----------
    models : dict of SimilarNetClassifier
        The same network with several settings, the default first. Baselines use its
        network and its layer.
    """
    model = next(iter(models.values()))
    methods = {}
    for setting, variant in models.items():
        for name, build, of_label in (
            ("heatmap(X, label)", class_heatmaps, True),
            ("heatmap(X)", heatmaps_of_all_classes, False),
        ):
            # The map of all classes does not depend on `class_heatmap`.
            if of_label or variant.class_heatmap == model.class_heatmap:
                methods[f"{name}, {setting}"] = Method(
                    partial(build, variant), is_ours=True, of_label=of_label
                )
    several = [m.layer_ for m in models.values() if isinstance(m.layer_, list)]
    first_layer = several[0][0] if several else None
    mean = partial(adapt, model, mean_activations)
    methods["mean of the activations"] = Method(mean, of_label=False, grid=FAST)
    # CAM uses the weights of the single linear layer after an average pooling.
    modules = model.net_.module_.named_modules()
    linear = [name for name, module in modules if isinstance(module, nn.Linear)]
    if len(linear) == 1:
        build = partial(adapt, model, partial(with_torchcam, CAM, fc_layer=linear[0]))
        methods["torchcam CAM"] = Method(build, grid=FAST)
        if first_layer:
            make = partial(cam_times_stem, linear=linear[0], stem=first_layer)
            methods["CAM times stem"] = Method(partial(adapt, model, make), grid=FAST)
    for extractor in (GradCAM, GradCAMpp, LayerCAM):
        build = partial(adapt, model, partial(with_torchcam, extractor))
        methods[f"torchcam {extractor.__name__}"] = Method(
            build, needs_gradients=True, grid=FAST
        )
    if first_layer:
        make = partial(layercam_of_two, first_layer=first_layer)
        methods["torchcam LayerCAM, two layers"] = Method(
            partial(adapt, model, make), needs_gradients=True, grid=FAST
        )
    methods["captum LayerGradCam"] = Method(
        partial(adapt, model, captum_gradcam), needs_gradients=True, grid=FAST
    )
    if AblationCAM:
        make = partial(with_gradcam, EigenCAM)
        build = partial(adapt, model, make)
        methods["grad-cam EigenCAM"] = Method(build, of_label=False, grid=FAST)
        make = partial(with_gradcam, FullGrad)
        methods["grad-cam FullGrad"] = Method(
            partial(adapt, model, make), needs_gradients=True, grid=FAST
        )
    for name, make, parameter in (
        ("torchcam ScoreCAM", partial(with_torchcam, ScoreCAM), "batch_size"),
        ("captum LayerFeatureAblation", captum_ablation, "perturbations_per_eval"),
        ("grad-cam AblationCAM", partial(with_gradcam, AblationCAM), "batch_size"),
    ):
        if AblationCAM or not name.startswith("grad-cam"):
            grid = {"n_at_once": (1, 16), parameter: (8, 32), **LAYOUTS}
            methods[name] = Method(partial(adapt, model, make), grid=grid)
    return methods


def class_heatmaps(model):
    """Our heatmaps of a label for each image."""
    return lambda X, labels: model.heatmap(X, labels=labels)


def heatmaps_of_all_classes(model):
    """Our heatmaps of all classes; labels are ignored."""
    return lambda X, _labels: model.heatmap(X)


def adapt(model, make, n_at_once, channels_last, **setting):
    """Maps of a baseline, computed batch by batch and interpolated."""
    network = deepcopy(model.net_.module_).eval()
    if channels_last:
        network.to(memory_format=torch.channels_last)
    maps_of = make(network, model.layer_, **setting)

    def heatmaps(X, labels):
        images = as_tensors(X, channels_last)
        classes = torch.from_numpy(np.searchsorted(model.classes_, labels))
        result = np.empty(X.shape[:3], dtype=np.float32)
        for part in gen_batches(len(X), n_at_once):
            maps = maps_of(images[part], classes[part])[:, None]
            pixels = F.interpolate(maps, X.shape[1:3], mode="bilinear")
            result[part] = pixels[:, 0].numpy()
        return result

    return heatmaps


def with_torchcam(extractor_class, network, layer, **setting):
    """torchcam: a forward pass with hooks, then the extractor on the scores."""
    extractor = extractor_class(network, layer, **setting)
    needs_gradients = issubclass(extractor_class, (GradCAM, GradCAMpp, LayerCAM))

    def maps_of(images, classes):
        with torch.inference_mode(not needs_gradients):
            scores = network(images)
            (maps,) = extractor(classes.tolist(), scores)
        return maps

    return maps_of


def captum_gradcam(network, layer):
    """captum: Grad-CAM with a ReLU, as in its paper."""
    attribution = LayerGradCam(network, network.get_submodule(layer))

    def maps_of(images, classes):
        maps = attribution.attribute(images, target=classes, relu_attributions=True)
        return maps.detach()[:, 0]

    return maps_of


def captum_ablation(network, layer, perturbations_per_eval):
    """captum: activations, weighted by the increase of this image's log loss."""
    module = network.get_submodule(layer)
    activations_of = LayerActivation(network, module).attribute

    @torch.inference_mode()
    def maps_of(images, classes):
        activations = activations_of(images)
        increases_of = captum_increases(
            network, layer, activations.shape[1], perturbations_per_eval
        )
        weights = increases_of(images, classes)
        return torch.einsum("nc,nchw->nhw", weights, activations).relu()

    return maps_of


def with_gradcam(cam_class, network, layer, **setting):
    """grad-cam: its maps have the images' size."""
    # FullGrad uses all layers with a bias and warns if layers are given.
    layers = [] if cam_class is FullGrad else [network.get_submodule(layer)]
    cam = cam_class(network, layers, **setting)

    def maps_of(images, classes):
        targets = [ClassifierOutputTarget(index) for index in classes.tolist()]
        # AblationCAM prints a progress bar for every image.
        with contextlib.redirect_stderr(io.StringIO()):
            return torch.from_numpy(cam(input_tensor=images, targets=targets))

    return maps_of


def activations_of(network, layers):
    """A function from images to the activations of layers."""
    outputs = {}
    for layer in layers:

        def record(_module, _inputs, output, layer=layer):
            outputs[layer] = output.clone()

        network.get_submodule(layer).register_forward_hook(record)

    def activations(images):
        network(images)
        return [outputs[layer] for layer in layers]

    return activations


def mean_activations(network, layer):
    """The mean of the positive activations, without weights and class."""
    activations = activations_of(network, [layer])

    @torch.inference_mode()
    def maps_of(images, _classes):
        return activations(images)[0].relu().mean(dim=1)

    return maps_of


def cam_times_stem(network, layer, linear, stem):
    """CAM, multiplied by the mean activation of the network's first layer."""
    activations = activations_of(network, [stem, layer])
    weight = network.get_submodule(linear).weight

    @torch.inference_mode()
    def maps_of(images, classes):
        early, late = activations(images)
        maps = torch.einsum("nc,nchw->nhw", weight[classes], late).relu()[:, None]
        maps = F.interpolate(maps, early.shape[2:], mode="bilinear")[:, 0]
        return maps * early.relu().mean(dim=1)

    return maps_of


def layercam_of_two(network, layer, first_layer):
    """torchcam: LayerCAM of an early and the last layer, fused as in its paper."""
    extractor = LayerCAM(network, [first_layer, layer])

    def maps_of(images, classes):
        scores = network(images)
        maps = extractor(classes.tolist(), scores)
        return extractor.fuse_cams(maps, images.shape[2:])

    return maps_of


def ablation_weights(model, batch_size=32):
    """grad-cam: share of the label's score that is lost without each filter."""
    network = deepcopy(model.net_.module_).eval()
    layer = network.get_submodule(model.layer_)
    cam = AblationCAM(network, [layer], batch_size=batch_size)

    @torch.no_grad()
    def weights_of(X, labels):
        images = as_tensors(X, channels_last=False)
        classes = np.searchsorted(model.classes_, labels)
        targets = [ClassifierOutputTarget(index) for index in classes]
        cam.activations_and_grads(images)
        activations = cam.activations_and_grads.activations[0].numpy()
        with contextlib.redirect_stderr(io.StringIO()):
            return cam.get_cam_weights(images, layer, targets, activations, None)

    return weights_of
