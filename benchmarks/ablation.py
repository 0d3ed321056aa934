"""Time to measure what each filter of LeNet is worth, five methods.

    tox -e benchmark-ablation            (about 3 minutes on 2 cores)
    tox -e benchmark-ablation -- --quick

All take the same trained LeNet and the same 10,000 test images of MNIST (uint8, as
they are loaded), and all but the first end with the increase of the log loss without
each of the 16 filters of the last convolution:

- predict_proba: one pass, without importances, for scale;
- fit_importance: ours, which also measures the error rate, the same for each class, and
  the scale of the heat;
- whole network per filter: a plain loop that sets a filter's responses to zero in a
  hook and runs the network, for one filter after another;
- head per filter: a better loop, which runs the convolutions once, keeps the responses
  of a batch, and runs only what follows them for each filter;
- captum: LayerFeatureAblation with a layer mask that makes a channel one feature, on
  the log loss of each image.

The loops and captum turn the images to one float tensor in the memory format that
ours has (channels last, the faster one on CPUs) and run in inference mode. They use the
batch size (and captum the perturbations_per_eval) that is fastest on 2,000 of the
images; ours has its defaults. The methods take turns, and the figures are medians: of
the seconds, and of the ratios of a round.
"""

from _common import load_mnist, parse_arguments, report
from _importances import Comparison

from sklearn_similar import SimilarNetClassifier

BATCH_SIZES = (100, 300, 1000)
PERTURBATIONS = (1, 4, 16)
N_FOR_SETTINGS = 2000


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    model = SimilarNetClassifier(
        max_epochs=1 if arguments.quick else 2,
        validation_fraction=None,
        random_state=0,
    ).fit(mnist.X_train, mnist.y_train)
    comparison = Comparison(
        {"fit_importance": model},
        {"batch_size": BATCH_SIZES},
        {"batch_size": BATCH_SIZES, "perturbations_per_eval": PERTURBATIONS},
        {"batch_size": BATCH_SIZES},
    )
    X, y = mnist.X_test, mnist.y_test
    few = slice(N_FOR_SETTINGS)
    rows = comparison.rows(X, y, X[few], y[few], 2 if arguments.quick else 7)
    measured = comparison.models["fit_importance"]
    print(f"\nlayer {measured.layer_}, method {measured.ablation_method_!r}")
    report("ablation", rows, arguments.quick)


if __name__ == "__main__":
    main()
