"""Figures of `fit` that are not parameters of the localizer, with their sources."""

from dataclasses import dataclass, field

import numpy as np

from .._scenes.recipe import TrainingSceneRecipe, scene_recipe
from .._search.box_regression import RefinementRecipe


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """Which boxes of a scene become training crops.

    Crops whose IoU with an object is between `background_iou` and `object_iou` are left
    out. All figures were chosen on scenes of training digits and clothes.

    Attributes
    ----------
    object_iou : float
        Minimum IoU of a crop of an object.
    background_iou : float
        Maximum IoU of a crop of background, exclusive.
    n_jittered : int
        Jittered boxes for each object, about as exact as those that a search crops.
    jitter : float
        Maximum shift of their corners, as a share of the box's width and height.
    example_iou : float
        Minimum IoU with an object of a proposal that box regression learns from.
    examples_per_object : int
        Such proposals from a scene, as a multiple of its objects.
    """

    object_iou: float = 0.7
    background_iou: float = 0.6
    n_jittered: int = 1
    jitter: float = 0.12
    example_iou: float = 0.3
    examples_per_object: int = 2


@dataclass(frozen=True, kw_only=True)
class CropNumberRecipe:
    """How many training crops are made where the user does not say.

    Attributes
    ----------
    at_images : int
        Number of images for which the maximum number of crops is made, that of MNIST.
    max_instances, max_background : int
        Crops of objects and of background for so many images and more.
    exponent : float
        Power of the number of images with which both grow.
    min_share : float
        Minimum number of crops, as a share of the maximum.
    """

    at_images: int = 60_000
    max_instances: int = 40_000
    max_background: int = 30_000
    exponent: float = 0.6
    min_share: float = 1 / 60

    def numbers(
        self,
        n_images: int,
        n_instances: int | str = "auto",
        n_background: int | str = "auto",
    ) -> tuple[int, int]:
        """Numbers of crops of objects and of background for so many images.

        Numbers other than "auto" stay.
        """
        share = (n_images / self.at_images) ** self.exponent
        share = float(np.clip(share, self.min_share, 1))
        if n_instances == "auto":
            n_instances = round(share * self.max_instances)
        if n_background == "auto":
            n_background = round(share * self.max_background)
        return int(n_instances), int(n_background)


@dataclass(frozen=True, kw_only=True)
class BoxRegressionRecipe:
    """How box regression is learnt.

    All figures were chosen on scenes of training digits and clothes.

    Attributes
    ----------
    n_epochs, batch_size : int
    learning_rate : float
        Peak learning rate of the one-cycle schedule.
    beta : float
        Error, as a share of the box's longer side, above which the smooth L1 loss is
        linear.
    held_out_fraction : float
        Share of the objects that is held out.
    min_objects : int
        Minimum number of held-out objects.
    max_fraction : float
        Share of the objects that is held out to reach `min_objects`.
    n_standard_errors : float
        Improvement of the held-out IoU, in standard errors, without which boxes are not
        refined.
    min_held_out : int
        Minimum number of held-out examples.
    """

    n_epochs: int = 8
    batch_size: int = 100
    learning_rate: float = 4e-3
    beta: float = 0.05
    held_out_fraction: float = 0.1
    min_objects: int = 5
    max_fraction: float = 0.25
    n_standard_errors: float = 3.0
    min_held_out: int = 20

    def n_held_out_objects(self, n_objects: int) -> int:
        """How many of the objects are held out; 0 if there are too few."""
        n_held_out = max(self.min_objects, int(self.held_out_fraction * n_objects))
        return n_held_out if n_held_out <= self.max_fraction * n_objects else 0


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
    """How much of the background images is used, so that any number takes bounded time.

    Views are random parts of all images in turn, resized and rotated.

    Attributes
    ----------
    per_image : int
        Maximum number of views of each image.
    max_views : int
        Maximum number of views of all images.
    max_side : int
        Maximum height and width of a view in pixels.
    crops_per_view : int, default=1
        Background crops that are asked for, for each view besides one of each image.
    """

    per_image: int
    max_views: int
    max_side: int
    crops_per_view: int = 1

    def n_views(self, n_images: int, n_crops: int) -> int:
        """Number of views of so many images, where so many crops are asked for."""
        n_wanted = max(n_images, -(-n_crops // self.crops_per_view))
        return min(self.per_image * n_images, self.max_views, n_wanted)


@dataclass(frozen=True, kw_only=True)
class MiningRecipe:
    """How hard negatives are mined, and from what.

    Attributes
    ----------
    min_objectness : float
        As in `RefinementRecipe`. With 0, all proposals are also recognised unmoved and
        split, among them those that are sure background in a search; without these,
        fewer hard negatives are mined.
    min_probability : float
        Minimum probability of a class: less probable crops teach nothing new.
    share : float
        Maximum number of hard negatives in a round, as a share of the background crops.
    max_crops : int
        Maximum number of crops to train the recogniser on whose errors are mined.
    epoch_share : float
        Epochs before each round, as a share of those of the estimator.
    min_last_share : float
        Minimum share of the epochs after the last round.
    views : ViewRecipe
        Views of the background images that are searched in a round.
    crops_per_texture : int
        Background crops for each texture.
    n_textures : (int, int)
        Minimum and maximum number of textures.
    """

    min_objectness: float = 0.0
    min_probability: float = 0.02
    share: float = 0.5
    max_crops: int = 10_000
    epoch_share: float = 1 / 3
    min_last_share: float = 2 / 3
    views: ViewRecipe = ViewRecipe(
        per_image=24, max_views=192, max_side=320, crops_per_view=50
    )
    crops_per_texture: int = 200
    n_textures: tuple[int, int] = (3, 100)


@dataclass(frozen=True, kw_only=True)
class CalibrationRecipe:
    """How scores are calibrated on held-out images.

    Attributes
    ----------
    held_out_fraction : float
        Share of the images of each class that is held out.
    min_held_out, max_held_out : int
        Minimum and maximum number of held-out images. Scores are not calibrated with
        fewer, which would be calibrated to single objects.
    max_fraction : float
        Share of the images of each class that may be held out to reach `min_held_out`.
    min_backgrounds : int
        Minimum number of background images of which some are held out. With fewer,
        scores are calibrated on other parts of the images that are trained on.
    views : ViewRecipe
        Views of the background images.
    texture_share : float
        Textures, as a share of those that are mined in a round.
    min_objects : int
        Minimum number of objects in the scenes; few held-out images are pasted several
        times.
    share : float
        Maximum of `min_objects`, as a share of the training crops of objects.
    min_score : float
        Detections with lower scores are left out.
    right_iou : float
        Minimum IoU of a detection that is right.
    background_weight : float
        Weight of detections in images without objects. Scenes are full of objects;
        images that are searched hold fewer.
    nms_threshold : float
        Maximum IoU of two detections.
    """

    held_out_fraction: float = 0.1
    min_held_out: int = 10
    max_held_out: int = 1000
    max_fraction: float = 0.2
    min_backgrounds: int = 4
    views: ViewRecipe = ViewRecipe(
        per_image=8, max_views=64, max_side=320, crops_per_view=300
    )
    texture_share: float = 1 / 3
    min_objects: int = 300
    share: float = 0.1
    min_score: float = 0.02
    right_iou: float = 0.5
    background_weight: float = 3.0
    nms_threshold: float = 0.3


@dataclass(frozen=True, kw_only=True)
class BackboneRecipe:
    """How a small backbone is trained on photographs with boxes.

    All figures were chosen on training photographs of blood cells and playing cards.

    Attributes
    ----------
    max_pixels : float
        Working pixels in all epochs, within the limits of `n_epochs`.
    n_epochs : (int, int)
        Minimum and maximum number of epochs.
    batch_size : int
        Photographs in a step.
    learning_rate : float
        Peak learning rate of the one-cycle schedule.
    weight_decay : float
    n_hidden : int
        Units of the head's hidden layer.
    n_jittered, jitter : int, float
        Jittered boxes for each object, and the maximum shift of their edges, as a share
        of the box's width and height.
    n_far : int
        Boxes anywhere in a photograph.
    object_iou, background_iou, part_iou : float
        As in `PhotographRecipe`.
    box_weight, beta : float
        Weight of the offsets' loss, and the offset from which it is linear.
    """

    max_pixels: float = 1.2e8
    n_epochs: tuple[int, int] = (10, 40)
    batch_size: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    n_hidden: int = 128
    n_jittered: int = 4
    jitter: float = 0.3
    n_far: int = 64
    object_iou: float = 0.5
    background_iou: float = 0.4
    part_iou: float = 0.1
    box_weight: float = 2.0
    beta: float = 0.1


@dataclass(frozen=True, kw_only=True)
class PhotographRecipe:
    """How a recogniser is trained on photographs with boxes.

    All figures were chosen on training photographs of blood cells and playing cards.

    Attributes
    ----------
    object_side : float
        Working pixels of the median object's longer side, to which photographs are
        reduced. With 160 in place of 96, similar cards are told apart better.
    enlarged_side : float
        The same for photographs that are enlarged.
    small_object_side : float
        Both for the small network that is trained on the photographs.
    max_scale : float
        Maximum factor by which photographs are enlarged.
    n_window_sizes : int
        Maximum number of sizes of windows.
    n_jittered : int
        Jittered boxes for each object.
    jitter : float
        Maximum shift of their edges, as a share of the box's width and height.
    near_iou : float
        Minimum IoU with an object of a box that is moved in training.
    n_near, n_far : int
        Proposals near each object, and elsewhere in each photograph.
    max_near, max_far : int
        Their maximum numbers in all photographs together.
    max_mirrored : int
        Maximum number of objects in all photographs with which their mirror images are
        learnt from, too.
    min_detailed : int
        Minimum number of objects with which the backbone's details are learnt from.
        With 26 boxes, look-alikes are taken for objects more often.
    penalty : float
        Of the ridge regressions, for features of unit variance.
    missed : float
        Share of the boxes around objects that is dropped as background.
    n_regressions : int
        Times that boxes are moved. A second move makes boxes of objects so alike that
        the classifier learns less from them.
    object_iou : float
        Minimum IoU of an example of an object.
    background_iou : float
        Maximum IoU of an example of background, exclusive.
    part_iou : float
        Minimum IoU with an object of what is surely background where annotations are
        partial: a part of the object, or an inexact box of it.
    hard_probability : float
        Minimum probability of an object in a hard negative, exclusive.
    hard_iou : float
        Maximum IoU of two hard negatives.
    n_hard : int
        Maximum number of hard negatives in a photograph and round.
    min_photographs : int
        Minimum number of photographs with objects, without which scores are not
        calibrated.
    n_folds : int
        Of the cross-validation in which scores are calibrated.
    enough_photographs : int
        Number of photographs in a fold from which one fold is enough.
    min_score, nms_threshold : float
        Of the detections on which scores are calibrated.
    backbone : BackboneRecipe
    """

    object_side: float = 160.0
    enlarged_side: float = 96.0
    small_object_side: float = 40.0
    max_scale: float = 2.0
    n_window_sizes: int = 5
    n_jittered: int = 4
    jitter: float = 0.25
    near_iou: float = 0.35
    n_near: int = 4
    n_far: int = 150
    max_near: int = 6_000
    max_far: int = 8_000
    max_mirrored: int = 500
    min_detailed: int = 50
    penalty: float = 3000.0
    missed: float = 0.02
    n_regressions: int = 1
    object_iou: float = 0.5
    background_iou: float = 0.4
    part_iou: float = 0.1
    hard_probability: float = 0.1
    hard_iou: float = 0.7
    n_hard: int = 80
    min_photographs: int = 3
    n_folds: int = 3
    enough_photographs: int = 15
    min_score: float = 0.02
    nms_threshold: float = 0.4
    backbone: BackboneRecipe = BackboneRecipe()


@dataclass(frozen=True, kw_only=True)
class LearningRecipe:
    """Figures of `fit` that are not parameters of the localizer.

    Attributes
    ----------
    scenes : TrainingSceneRecipe
    crop_numbers : CropNumberRecipe
    crops : CropRecipe
    box_regression : BoxRegressionRecipe
    refinement : RefinementRecipe
    mining : MiningRecipe
    calibration : CalibrationRecipe
    photographs : PhotographRecipe
    plain_share : float
        Training images that are learnt as they are, as a multiple of the crops of
        objects: differences of similar classes are learnt from many images.
    min_plain : int
        Minimum number of these.
    views : ViewRecipe
        Views of the background images in scenes.
    n_textures : (int, int)
        Minimum and maximum number of textures in scenes.
    crops_per_texture : int
        Background crops for each of these textures.
    min_restyled : int
        Minimum number of images that are pasted, in fragments where no crops of objects
        are wanted.
    spare_background : int
        Background crops made of a scene, as a multiple of its share of those wanted:
        not all scenes have enough.
    """

    scenes: TrainingSceneRecipe = field(default_factory=TrainingSceneRecipe)
    crop_numbers: CropNumberRecipe = CropNumberRecipe()
    crops: CropRecipe = CropRecipe()
    box_regression: BoxRegressionRecipe = BoxRegressionRecipe()
    refinement: RefinementRecipe = field(default_factory=RefinementRecipe)
    mining: MiningRecipe = MiningRecipe()
    calibration: CalibrationRecipe = CalibrationRecipe()
    photographs: PhotographRecipe = PhotographRecipe()
    plain_share: float = 1.25
    min_plain: int = 2000
    views: ViewRecipe = ViewRecipe(
        per_image=8, max_views=128, max_side=1024, crops_per_view=150
    )
    n_textures: tuple[int, int] = (6, 60)
    crops_per_texture: int = 500
    min_restyled: int = 1000
    spare_background: int = 3


# For images that were cropped from photographs, with their surroundings. An object has
# no edges of its own in them, and is proposed less exactly.
_WITH_CONTEXT = LearningRecipe(
    scenes=scene_recipe(has_context=True),
    crops=CropRecipe(object_iou=0.5, background_iou=0.3, n_jittered=3, jitter=0.2),
)


def learning_recipe(has_context: bool) -> LearningRecipe:
    """The recipe for bright objects on black, or for objects with context."""
    return _WITH_CONTEXT if has_context else LearningRecipe()
