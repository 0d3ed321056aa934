"""Time of training LeNet, compared with a plain PyTorch loop.

    tox -e benchmark-training            (about 4 minutes on 2 cores)
    tox -e benchmark-training -- --quick

All methods train the same LeNet on MNIST's 60,000 training images for 2 epochs with the
paper's recipe: Adam, a learning rate that decays with every update, and shuffled
batches of 300. They record the mean loss of each epoch. The plain loop converts the
images to a float tensor and slices it, in PyTorch's default memory format and in
channels last, which is faster on CPUs and is the format of ours. Ours is fit(X, y) with
validation_fraction=None, which includes input validation, building the network, and
skorch's history. The methods take turns, with a new seed in each round. Ratios are
medians over the rounds, losses and test accuracies are means.
"""

from functools import partial

import numpy as np
import torch
from _common import (
    PAPER_RECIPE,
    as_tensors,
    interleave,
    load_mnist,
    median_ratio,
    parse_arguments,
    report,
)
from torch.nn import functional as F

from sklearn_similar import LeNet, SimilarNetClassifier

LOOP = "plain PyTorch loop"
LOOP_CHANNELS_LAST = "plain PyTorch loop, channels last"


def train_plainly(X, y, n_epochs, seed, channels_last):
    """A network trained with the paper's recipe, and its last mean training loss."""
    lr, lr_decay = PAPER_RECIPE["lr"], PAPER_RECIPE["lr_decay"]
    torch.manual_seed(seed)
    images = as_tensors(X, channels_last)
    labels = torch.from_numpy(y)
    network = LeNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n_updates: 1 / (1 + lr_decay * n_updates)
    )
    for _ in range(n_epochs):
        total = 0.0
        for batch in torch.randperm(len(images)).split(PAPER_RECIPE["batch_size"]):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
    return network, total / len(images)


@torch.inference_mode()
def accuracy(network, X, y):
    """Share of correctly classified images."""
    outputs = network.eval()(as_tensors(X, channels_last=True))
    return float((outputs.argmax(dim=1).numpy() == y).mean())


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    X, y = mnist.X_train, mnist.y_train
    n_repeats, n_epochs = (2, 2) if arguments.quick else (7, 2)

    def fit(X, y, n_epochs, seed):
        model = SimilarNetClassifier(
            max_epochs=n_epochs,
            validation_fraction=None,
            random_state=seed,
            **PAPER_RECIPE,
        ).fit(X, y)
        return model.net_.module_, model.net_.history[-1, "train_loss"]

    methods = {
        "fit": fit,
        LOOP: partial(train_plainly, channels_last=False),
        LOOP_CHANNELS_LAST: partial(train_plainly, channels_last=True),
    }
    trained = {name: [] for name in methods}

    def train(name):
        seed = len(trained[name])
        trained[name].append(methods[name](X, y, n_epochs, seed))

    for method in methods.values():
        # The first call includes one-time loading and allocation.
        method(X[:1000], y[:1000], 1, 0)
    seconds = interleave({name: partial(train, name) for name in methods}, n_repeats)
    rows = [
        {
            "method": name,
            "seconds per epoch": np.median(seconds[name]) / n_epochs,
            "x loop": median_ratio(seconds[name], seconds[LOOP]),
            "x channels last": median_ratio(seconds[name], seconds[LOOP_CHANNELS_LAST]),
            "training loss": np.mean([loss for _, loss in trained[name]]),
            "test accuracy": np.mean(
                [accuracy(net, mnist.X_test, mnist.y_test) for net, _ in trained[name]]
            ),
            "images": len(y),
            "epochs": n_epochs,
            "repeats": n_repeats,
        }
        for name in methods
    ]
    report("training", rows, arguments.quick)


if __name__ == "__main__":
    main()
