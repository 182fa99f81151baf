"""Write the data of the examples into the folder `data` beside this file.

    data/mail.csv, chat.jsonl    messages to a shop, with their topics and, every tenth, its intent
    data/*-test.*                more of them, held out, all with their intent
    data/word-vectors/           a static_text encoder, fitted to the messages
    data/digits/, digits-test/   handwritten digits (scikit-learn's), a folder for each class

Nothing is downloaded.
"""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

DATA = Path(__file__).parent / "data"
POOL, TEST = 300, 100
"""Messages of a domain."""

KNOWN_EVERY = 10
"""Of so many messages of a pool, one comes with its intent."""

TEST_DIGITS = 397
DIMENSION = 32

SENTENCES = {
    "complaint": {
        "delivery": (
            "My parcel is a week late.",
            "The courier left the box in the rain.",
            "Half of my order never arrived.",
        ),
        "payment": (
            "I was charged twice for the same order.",
            "The discount was not applied at checkout.",
            "My refund is still missing.",
        ),
        "product": (
            "The zipper broke on the first day.",
            "The color is nothing like the photo.",
            "One of the shoes is a size too small.",
        ),
        "account": (
            "I have not been able to log in since the update.",
            "The reset email never arrives.",
            "The app keeps signing me out.",
        ),
    },
    "praise": {
        "delivery": (
            "The parcel was here the next morning.",
            "The packaging was great and nothing was damaged.",
            "The courier was very friendly.",
        ),
        "payment": (
            "Checkout took less than a minute.",
            "Thanks for the quick refund.",
            "It is great that you accept every card.",
        ),
        "product": (
            "These are the best boots I have ever had.",
            "The fabric is wonderful and the fit is perfect.",
            "The bag is worth every cent.",
        ),
        "account": (
            "Signing up was really easy.",
            "The new order page is wonderful.",
            "I like how simple the app is.",
        ),
    },
    "question": {
        "delivery": (
            "Do you ship to Norway?",
            "How long does delivery take?",
            "Can I pick up my parcel at the store?",
        ),
        "payment": (
            "Can I pay in installments?",
            "Which credit cards do you accept?",
            "Where do I enter a gift card?",
        ),
        "product": (
            "Is the jacket waterproof?",
            "Does the bag fit a large laptop?",
            "Are the boots available in brown?",
        ),
        "account": (
            "How do I change my email address?",
            "Can two people share one account?",
            "Where do I turn off the newsletter?",
        ),
    },
}
WITHOUT_TOPIC = {
    "complaint": "I am very disappointed.",
    "praise": "Keep up the good work!",
    "question": "Is anybody there?",
}
GREETINGS = ("Hello,", "Hi there,", "Good morning,", "Dear team,", "To whom it may concern,")
ENDINGS = ("Best, Kim", "Regards, A. Lopez", "Thank you", "Yours, Robin", "Sent from my phone")
STARTS = ("hi", "hey", "ok so", "one more thing:", "hello again", "so", "btw")
ORDERS = range(1000, 1200)

Message = tuple[str, str, list[str]]
"""Text, intent and topics."""


def main() -> None:
    """Write everything; the same data each time."""
    rng = np.random.default_rng(0)
    DATA.mkdir(exist_ok=True)
    mails, chats = messages(rng, formal=True), messages(rng, formal=False)
    write_csv(DATA / "mail.csv", partly_labeled(mails[:POOL]))
    write_csv(DATA / "mail-test.csv", mails[POOL:])
    write_jsonl(DATA / "chat.jsonl", partly_labeled(chats[:POOL]))
    write_jsonl(DATA / "chat-test.jsonl", chats[POOL:])
    write_word_vectors(DATA / "word-vectors", [text for text, _, _ in mails + chats])
    write_digits()


def messages(rng: np.random.Generator, formal: bool) -> list[Message]:
    """Return the messages of a domain's pool and of its test."""
    return [message(rng, formal) for _ in range(POOL + TEST)]


def partly_labeled(messages: list[Message]) -> list[Message]:
    """Leave out the intent of most messages."""
    return [
        (text, intent if i % KNOWN_EVERY == 0 else "", topics)
        for i, (text, intent, topics) in enumerate(messages)
    ]


def message(rng: np.random.Generator, formal: bool) -> Message:
    """Return a message, its intent, and its topics: none, one or two."""
    intent = str(rng.choice(list(SENTENCES)))
    some = rng.permutation(list(SENTENCES[intent]))[: rng.choice(3, p=[0.1, 0.6, 0.3])]
    sentences = [str(rng.choice(SENTENCES[intent][topic])) for topic in some]
    text = " ".join(sentences or [WITHOUT_TOPIC[intent]])
    if formal:
        text = f"{rng.choice(GREETINGS)} {text} {rng.choice(ENDINGS)}"
    else:
        text = f"{rng.choice(STARTS)} {text.lower().replace('.', '')} #{rng.choice(ORDERS)}"
    return text, intent, sorted(map(str, some))


def write_csv(path: Path, messages: list[Message]) -> None:
    """Write messages as a table: a row without topics says `(none)`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "body", "intent", "topics"])
        for i, (text, intent, topics) in enumerate(messages):
            writer.writerow([f"mail-{i}", text, intent, " | ".join(topics) or "(none)"])


def write_jsonl(path: Path, messages: list[Message]) -> None:
    """Write messages as JSON lines: topics are a list."""
    lines = [
        json.dumps({"id": f"chat-{i}", "text": text, "intent": intent, "topics": topics})
        for i, (text, intent, topics) in enumerate(messages)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_word_vectors(folder: Path, texts: list[str]) -> None:
    """Write vectors in which words that occur in the same messages are close.

    Source: Levy and Goldberg 2014, Neural Word Embedding as Implicit Matrix Factorization (the
    singular vectors of the positive pointwise mutual information).
    """
    words = pre_tokenizers.Whitespace()
    messages = [{word for word, _ in words.pre_tokenize_str(text.lower())} for text in texts]
    vocabulary = ["[UNK]", *sorted(set().union(*messages))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), words
    occurs = np.array([[word in each for word in vocabulary] for each in messages], dtype=float)
    together, counts = occurs.T @ occurs, occurs.sum(0)
    expected = np.maximum(np.outer(counts, counts) / len(texts), 1e-9)
    information = np.log(np.maximum(together / expected, 1.0))
    left, values, _ = np.linalg.svd(information)
    vectors = left[:, :DIMENSION] * np.sqrt(values[:DIMENSION])
    folder.mkdir(exist_ok=True)
    weights = {"embedding.weight": np.ascontiguousarray(vectors, dtype=np.float32)}
    save_file(weights, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))


def write_digits() -> None:
    """Write real digits of 8 x 8 pixels, dark on light, as PNG files in a folder for each class."""
    digits = load_digits()
    pixels = (255 - 15.9 * digits.images).astype(np.uint8)
    for i, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        folder = DATA / ("digits-test" if i < TEST_DIGITS else "digits") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:04d}.png")


if __name__ == "__main__":
    main()
