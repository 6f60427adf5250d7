"""Makes vectors.json: what the Python package `tokenizers` makes of texts, with tokenizers of four kinds.

    pip install tokenizers==0.23.2
    python make_vectors.py
"""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """
The server answers a request with the numbers that the model gives. A text becomes tokens, and each token has a number.
Words that are not in the vocabulary are cut into pieces: tokenization, unbelievable, re-ranking, déjà vu, naïve café.
Wer einen Satz in Zahlen verwandelt, muss wissen, welche Wörter das Modell kennt. Größe, Straße, übermäßig.
Le modèle lit des phrases et répond par des vecteurs. Où est la bibliothèque? C'est là-bas, à gauche.
Быстрая коричневая лиса прыгает через ленивую собаку. Η γρήγορη αλεπού. 你好，世界。今天天气很好。東京は日本の首都です。
안녕하세요 세계. مرحبا بالعالم. שלום עולם. नमस्ते दुनिया. 1234567890 3.14 1e-5 $12.50 50% a+b=c foo_bar foo-bar x@y.org
""".strip().splitlines()

FIXED = [
    "", " ", "   ", "\t", "\n", "\r\n", "a", "A", "hello", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "  leading and trailing  ", "double  spaces   inside", "tabs\tand\nnew lines\r\nmixed", "MiXeD CaSe WORDS", "don't can't won't it's",
    "naïve café résumé", "nai\u0308ve cafe\u0301", "ＦＵＬＬ ｗｉｄｔｈ １２３", "ﬁ ligature ﬂ", "Straße GRÖSSE ß ẞ", "İstanbul ıI iİ",
    "你好，世界", "今天天气很好，我们去公园吧。", "東京タワー", "日本語とEnglishの混在テキスト", "안녕하세요 세계", "안녕",
    "مرحبا بالعالم", "שָׁלוֹם עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Привет, мир! Ёлка", "Γειά σου Κόσμε ΣΊΣΥΦΟΣ",
    "😀", "😀😃😄", "👍🏽", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "text with 🚀 in it", "❤️ vs ❤", "\U0001f9d1\u200d\U0001f4bb",
    "\x00", "nul\x00inside", "\x01\x02\x1f", "bell\x07 and escape\x1b[31m", "\x7f", "\x85next line", "\ufeffbom", "\ufffd", "\ufffe\uffff",
    "\u200b\u200c\u200d", "soft\u00adhyphen", "no\u00a0break", "\u2028line\u2029paragraph", "\u202eright to left", "e\u0301\u0302\u0303\u0304\u0305",
    "[CLS]", "[SEP] in the text [MASK]", "[PAD][PAD]", "<s> and </s>", "<|endoftext|>", "[cls] [ CLS ]", "##ing ##", "Ġword", "▁word",
    "http://example.org/path?query=1&b=2#x", "user@example.org", "C:\\windows\\path", "a/b/c", "--flag=value", "$1,234.56", "3.14159e-10", "0x1F",
    "1 2 3 4 5", "12345678901234567890", "½ ¾ ⅷ ① ²", "a.b.c...d", "?!?!", "«guillemets» „quotes“ 'single' \"double\"", "(a[b]{c}<d>)",
    "<html><body>&amp;</body></html>", '{"json": [1, 2, null]}', "SELECT * FROM t WHERE a = 'b';", "x" * 99, "x" * 100, "x" * 101, "x" * 1000,
    "word " * 300, "ab" * 500, "，" * 200, "😀" * 150, "a\u0301" * 120, " ".join(CORPUS), "mañana " * 60, "字" * 300,
]

# Blocks from which random texts take their characters.
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
    (0xE00, 0xE7F), (0x1100, 0x11FF), (0x2000, 0x206F), (0x2190, 0x21FF), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF),
    (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x1F300, 0x1F6FF), (0x20000, 0x200FF), (0x1, 0x1F), (0xE000, 0xE0FF),
]


def random_texts(count):
    chance = random.Random(0)
    words = " ".join(CORPUS).split()
    texts = []
    for at in range(count):
        parts = []
        for _ in range(chance.randint(1, 12)):
            if chance.random() < 0.5:
                parts.append(chance.choice(words))
            else:
                low, high = chance.choice(BLOCKS)
                parts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 8))))
        texts.append(chance.choice([" ", "", " ", "\n"]).join(parts))
    return texts


TEXTS = FIXED + random_texts(260 - len(FIXED))
PAIRS = [(TEXTS[at], TEXTS[(7 * at + 3) % len(TEXTS)]) for at in range(0, len(TEXTS), 4)]


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As the file of all-MiniLM-L6-v2 has them: the options count, not these.
    tokenizer.enable_truncation(max_length=16)
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    return tokenizer


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 2)]
    )
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<pad>", pad_type_id=0)
    return tokenizer


def split_by_pattern():
    """As GPT-4 and Llama 3 split: a regular expression with look-around, then bytes."""
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<|endoftext|>", "[PAD]"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def rows(encodings):
    return {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
        "token_type_ids": [encoding.type_ids for encoding in encodings],
    }


def batches(file, kind):
    """Some rows at once, truncated and padded: each with its options and its result."""
    made = []
    for at, (max_length, strategy, fixed, multiple, pairs) in enumerate([
        (8, "longest_first", False, 1, False), (16, "longest_first", False, 8, True), (24, "longest_first", True, 1, False),
        (33, "longest_first", False, 1, True), (12, "longest_first", True, 4, True), (256, "longest_first", False, 16, False),
        (40, "only_first", False, 1, True), (40, "only_second", False, 8, True),
    ]):
        tokenizer = Tokenizer.from_str(file)
        padding = tokenizer.padding or {"pad_id": tokenizer.token_to_id("<pad>" if kind == "byte_level" else "[PAD]")}
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=max_length, strategy=strategy)
        tokenizer.enable_padding(
            pad_id=padding["pad_id"], direction=padding.get("direction", "right"), length=max_length if fixed else None,
            pad_to_multiple_of=multiple if multiple > 1 else None,
        )
        places = [place for place in range(at, len(PAIRS if pairs else TEXTS), 9)]
        inputs = [(PAIRS if pairs else TEXTS)[place] for place in places]
        kept = []
        for place, given in zip(places, inputs):
            try:
                tokenizer.encode(*given) if pairs else tokenizer.encode(given)
                kept.append((place, given))
            except Exception:
                pass  # The other text alone is too long.
        made.append({
            "max_length": max_length, "truncation": strategy, "fixed": fixed, "pad_to_multiple_of": multiple, "pairs": pairs,
            "places": [place for place, _ in kept], **rows(tokenizer.encode_batch([given for _, given in kept])),
        })
    return made


def main():
    vectors = {"made_with": f"tokenizers {tokenizers.__version__}", "texts": TEXTS, "pairs": PAIRS, "tokenizers": {}}
    for make in [wordpiece, byte_level, unigram, split_by_pattern]:
        file = make().to_str()
        bare = Tokenizer.from_str(file)
        bare.no_truncation()
        bare.no_padding()
        vectors["tokenizers"][make.__name__] = {
            "file": json.loads(file),
            "ids": [bare.encode(text).ids for text in TEXTS],
            "ids_without_special": [bare.encode(text, add_special_tokens=False).ids for text in TEXTS[:60]],
            "batches": batches(file, make.__name__),
        }
    path = Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps(vectors, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
