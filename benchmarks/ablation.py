"""Time to measure the importances of LeNet's filters, with five methods.

    tox -e benchmark-ablation            (about 3 minutes on 2 cores)
    tox -e benchmark-ablation -- --quick

All methods use the same trained LeNet and the same 10,000 uint8 test images of MNIST.
All but the first compute the increase of the log loss without each of the 16 filters of
the last convolution:

- predict_proba: a forward pass without importances, for comparison;
- fit_importance: ours, which also computes the error rate, both for each class, and
  the normalisation constant of heatmaps;
- whole network per filter: a plain loop over the filters that sets the activation of a
  filter to zero in a hook and runs the network;
- head per filter: a better loop, which runs the convolutions once, caches the
  activations of a batch, and runs only the following layers for each filter;
- captum: LayerFeatureAblation with a layer mask that makes each channel a feature, on
  the log loss of each image.

The loops and captum convert the images to a float tensor in the same memory format as
ours (channels last, which is faster on CPUs) and run in inference mode. They use the
batch size (captum also the perturbations_per_eval) that is fastest on 2,000 of the
images; ours uses its defaults. The methods take turns. The figures are medians of the
seconds and of the ratios within a round.
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
