"""Heatmaps of images: ours, and those of torchcam, captum and grad-cam.

Every method gets images of 8 bits and a label for each, and gives maps of the images'
size as a NumPy array. Each baseline has its own copy of the network, so that hooks of
one do not slow another.
"""

import contextlib
import io
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from _common import as_tensors
from _importances import captum_increases
from captum.attr import LayerActivation, LayerGradCam
from sklearn.utils import gen_batches
from torch import nn
from torch.nn import functional as F
from torchcam.methods import CAM, GradCAM, GradCAMpp, LayerCAM, ScoreCAM

try:
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
except ImportError:
    AblationCAM = None

PACKAGES = ("torchcam", "captum", "grad-cam")
LAYOUTS = {"channels_last": (False, True)}
# For what runs the network once; the others run it for every filter.
FAST = {"n_at_once": (16, 64), **LAYOUTS}


class Method(NamedTuple):
    """A method to heatmaps.

    Attributes
    ----------
    build : callable
        From settings to a function of images and labels.
    is_ours : bool
    of_label : bool
        Whether the labels that it gets count.
    needs_gradients : bool
    grid : dict
        Settings to try.
    """

    build: Callable[..., Callable]
    is_ours: bool = False
    of_label: bool = True
    needs_gradients: bool = False
    grid: Mapping[str, Any] = {}


def methods_for(models):
    """The methods that the network of some models allows, by name.

    Parameters
    ----------
    models : dict of SimilarNetClassifier
        One network with several settings, the default first. Peers get its network and
        its layer.
    """
    model = next(iter(models.values()))
    methods = {}
    for setting, own in models.items():
        for name, build, of_label in (
            ("heatmap(X, label)", of_own_label, True),
            ("heatmap(X)", of_all_labels, False),
        ):
            methods[f"{name}, {setting}"] = Method(partial(build, own), True, of_label)
    # CAM takes the weights of the one linear layer that follows an average pooling.
    modules = model.net_.module_.named_modules()
    linear = [name for name, module in modules if isinstance(module, nn.Linear)]
    if len(linear) == 1:
        build = partial(adapt, model, partial(with_torchcam, CAM, fc_layer=linear[0]))
        methods["torchcam CAM"] = Method(build, grid=FAST)
    for extractor in (GradCAM, GradCAMpp, LayerCAM):
        build = partial(adapt, model, partial(with_torchcam, extractor))
        methods[f"torchcam {extractor.__name__}"] = Method(
            build, needs_gradients=True, grid=FAST
        )
    methods["captum LayerGradCam"] = Method(
        partial(adapt, model, captum_gradcam), needs_gradients=True, grid=FAST
    )
    for name, make, parameter in (
        ("torchcam ScoreCAM", partial(with_torchcam, ScoreCAM), "batch_size"),
        ("captum LayerFeatureAblation", captum_ablation, "perturbations_per_eval"),
        ("grad-cam AblationCAM", gradcam_ablation, "batch_size"),
    ):
        if AblationCAM or make is not gradcam_ablation:
            grid = {"n_at_once": (1, 16), parameter: (8, 32), **LAYOUTS}
            methods[name] = Method(partial(adapt, model, make), grid=grid)
    return methods


def of_own_label(model):
    """Ours, of a label for each image."""
    return lambda X, labels: model.heatmap(X, labels=labels)


def of_all_labels(model):
    """Ours, all classes together; the labels do not count."""
    return lambda X, _labels: model.heatmap(X)


def adapt(model, make, n_at_once, channels_last, **setting):
    """A baseline's maps, computed for some images at once and interpolated."""
    network = deepcopy(model.net_.module_).eval()
    if channels_last:
        network.to(memory_format=torch.channels_last)
    maps_of = make(network, model.layer_, **setting)

    def heatmaps(X, labels):
        images = as_tensors(X, channels_last)
        classes = torch.from_numpy(np.searchsorted(model.classes_, labels))
        found = np.empty(X.shape[:3], dtype=np.float32)
        for part in gen_batches(len(X), n_at_once):
            maps = maps_of(images[part], classes[part])[:, None]
            pixels = F.interpolate(maps, X.shape[1:3], mode="bilinear")
            found[part] = pixels[:, 0].numpy()
        return found

    return heatmaps


def with_torchcam(extractor_class, network, layer, **setting):
    """torchcam: a pass with its hooks, then the extractor on the scores."""
    extractor = extractor_class(network, layer, **setting)
    needs_gradients = issubclass(extractor_class, (GradCAM, GradCAMpp, LayerCAM))

    def maps_of(images, classes):
        with torch.inference_mode(not needs_gradients):
            scores = network(images)
            (maps,) = extractor(classes.tolist(), scores)
        return maps

    return maps_of


def captum_gradcam(network, layer):
    """captum: Grad-CAM, negative values cut off as in its paper."""
    attribution = LayerGradCam(network, network.get_submodule(layer))

    def maps_of(images, classes):
        maps = attribution.attribute(images, target=classes, relu_attributions=True)
        return maps.detach()[:, 0]

    return maps_of


def captum_ablation(network, layer, perturbations_per_eval):
    """captum: responses, weighted by the increase of the log loss in this image."""
    module = network.get_submodule(layer)
    responses_of = LayerActivation(network, module).attribute

    @torch.inference_mode()
    def maps_of(images, classes):
        responses = responses_of(images)
        increases_of = captum_increases(
            network, layer, responses.shape[1], perturbations_per_eval
        )
        weights = increases_of(images, classes)
        return torch.einsum("nc,nchw->nhw", weights, responses).relu()

    return maps_of


def gradcam_ablation(network, layer, batch_size):
    """grad-cam: responses, weighted by the share of the score that goes with each."""
    cam = AblationCAM(network, [network.get_submodule(layer)], batch_size=batch_size)

    def maps_of(images, classes):
        targets = [ClassifierOutputTarget(index) for index in classes.tolist()]
        # It draws a progress bar for every image.
        with contextlib.redirect_stderr(io.StringIO()):
            return torch.from_numpy(cam(input_tensor=images, targets=targets))

    return maps_of
