"""Trains a two-layer network to tell two spirals apart, and writes a checkpoint after every few epochs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

SAVE_EVERY = 10
HIDDEN = 32
BATCH = 64
RATE = 0.5


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` points of each of two spirals, shape (2 × count, 2), and which one each belongs to."""
    random = np.random.default_rng(seed)
    turn = np.sqrt(random.random(count)) * 1.5 * np.pi
    one = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1)
    points = np.concatenate([one, -one]) + random.normal(scale=0.15, size=(2 * count, 2))
    return points / 5, np.repeat([0, 1], count)


def forward(weights: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.tanh(x @ weights["w1"] + weights["b1"])
    return hidden, 1 / (1 + np.exp(-(hidden @ weights["w2"] + weights["b2"])))


def step(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> None:
    hidden, predicted = forward(weights, x)
    error = (predicted - y) / len(x)
    back = np.outer(error, weights["w2"]) * (1 - hidden**2)
    weights["w2"] -= RATE * hidden.T @ error
    weights["b2"] -= RATE * error.sum()
    weights["w1"] -= RATE * x.T @ back
    weights["b1"] -= RATE * back.sum(axis=0)


def load(path: Path) -> tuple[int, dict[str, np.ndarray]]:
    """The epoch to go on with, and the weights."""
    if path.exists():
        stored = dict(np.load(path))
        epoch = int(stored.pop("epoch"))
        print(f"goes on after epoch {epoch}")
        return epoch, stored
    random = np.random.default_rng(0)
    weights = {"w1": random.normal(size=(2, HIDDEN)), "b1": np.zeros(HIDDEN)}
    return 0, {**weights, "w2": random.normal(size=HIDDEN) / HIDDEN, "b2": np.zeros(())}


def save(path: Path, epoch: int, weights: dict[str, np.ndarray]) -> None:
    """Whole or not at all: a job that is killed leaves the last good one."""
    fresh = path.with_suffix(".new.npz")
    np.savez(fresh, epoch=epoch, **weights)
    os.replace(fresh, path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    options = parser.parse_args()
    x, y = spirals(400, seed=1)
    test_x, test_y = spirals(200, seed=2)
    first, weights = load(options.checkpoint)
    random = np.random.default_rng(first)
    for epoch in range(first + 1, options.epochs + 1):
        for batch in np.array_split(random.permutation(len(x)), len(x) // BATCH):
            step(weights, x[batch], y[batch])
        if epoch % SAVE_EVERY == 0 or epoch == options.epochs:
            accuracy = np.mean((forward(weights, test_x)[1] > 0.5) == test_y)
            save(options.checkpoint, epoch, weights)
            print(f"epoch {epoch}: accuracy {accuracy:.3f}, checkpoint {options.checkpoint.name}", flush=True)


if __name__ == "__main__":
    main()
