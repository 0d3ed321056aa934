"""Time of training LeNet beside a plain PyTorch loop of the same recipe.

    tox -e benchmark-training            (about 5 minutes on 2 cores)
    tox -e benchmark-training -- --quick

Both train the same LeNet on MNIST's 60,000 training images for 2 epochs with Adam, a
learning rate that decays with every update, and shuffled batches of 300, and both keep
each epoch's mean loss. The plain loop turns the images to one float tensor first and
then slices it. Ours is fit(X, y) with validation_fraction=None, all that it does
included: checking the data, building the network, skorch's history. They take turns
with a new seed in each round; the ratio is the median over the rounds of seconds per
epoch, and losses and test accuracies are means.
"""

import numpy as np
import torch
from _common import interleave, load_mnist, median_ratio, parse_arguments, report
from torch.nn import functional as F

from sklearn_similar import LeNet, SimilarNetClassifier


def train_plainly(X, y, n_epochs, seed, lr=0.001, lr_decay=1e-5, batch_size=300):
    """The network, and the mean training loss of each epoch."""
    torch.manual_seed(seed)
    images = torch.from_numpy(X)[:, None].float().div_(255)
    labels = torch.from_numpy(y)
    network = LeNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n_updates: 1 / (1 + lr_decay * n_updates)
    )
    losses = []
    for _ in range(n_epochs):
        total = 0.0
        for batch in torch.randperm(len(images)).split(batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(total / len(images))
    return network, losses


@torch.inference_mode()
def accuracy(network, X, y):
    """Share of the images that are recognised."""
    outputs = network.eval()(torch.from_numpy(X)[:, None].float().div_(255))
    return float((outputs.argmax(dim=1).numpy() == y).mean())


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    mnist = load_mnist(arguments)
    X, y = mnist.X_train, mnist.y_train
    n_repeats, n_epochs = (2, 2) if arguments.quick else (9, 2)
    networks = {"fit": [], "plain PyTorch loop": []}
    losses = {name: [] for name in networks}

    def fit():
        model = SimilarNetClassifier(
            max_epochs=n_epochs,
            validation_fraction=None,
            random_state=len(networks["fit"]),
        ).fit(X, y)
        networks["fit"].append(model.net_.module_)
        losses["fit"].append(model.net_.history[-1, "train_loss"])

    def plain_loop():
        seed = len(networks["plain PyTorch loop"])
        network, epochs = train_plainly(X, y, n_epochs, seed)
        networks["plain PyTorch loop"].append(network)
        losses["plain PyTorch loop"].append(epochs[-1])

    ways = {"fit": fit, "plain PyTorch loop": plain_loop}
    # The first call of anything pays for what is loaded and allocated only once.
    SimilarNetClassifier(max_epochs=1, random_state=0).fit(X[:1000], y[:1000])
    train_plainly(X[:1000], y[:1000], 1, seed=0)
    seconds = interleave(ways, n_repeats)
    rows = [
        {
            "way": name,
            "seconds per epoch": np.median(seconds[name]) / n_epochs,
            "x plain loop": median_ratio(seconds[name], seconds["plain PyTorch loop"]),
            "training loss": np.mean(losses[name]),
            "test accuracy": np.mean(
                [accuracy(n, mnist.X_test, mnist.y_test) for n in networks[name]]
            ),
            "images": len(y),
            "epochs": n_epochs,
            "repeats": n_repeats,
        }
        for name in ways
    ]
    report("training", rows, arguments.quick)


if __name__ == "__main__":
    main()
