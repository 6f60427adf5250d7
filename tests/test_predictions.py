"""Every answer equals what Python's onnxruntime answers, however the rows are sent."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

TOLERANCE = 2e-5


def answered(response):
    assert response.status_code == 200, response.text
    body = response.json()
    outputs = {output["name"]: output for output in body["outputs"]}
    probabilities = np.array(outputs["probabilities"]["data"], dtype=np.float32)
    return [str(label) for label in outputs["label"]["data"]], probabilities.reshape(outputs["probabilities"]["shape"])


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_every_held_out_row_is_answered_as_by_the_reference(server, heldout, batch):
    count = len(heldout.inputs)
    step = batch if batch > 1 else max(1, count // 200)
    for first in range(0, count, step):
        rows = slice(first, first + batch)
        labels, probabilities = answered(server.infer(heldout.name, {"inputs": [heldout.tensor(rows)]}))
        assert labels == heldout.labels[rows]
        np.testing.assert_allclose(probabilities, heldout.probabilities[rows], atol=TOLERANCE)


def test_all_rows_in_one_request_come_back_in_order(server, heldout):
    labels, probabilities = answered(server.infer(heldout.name, {"inputs": [heldout.tensor(slice(None))]}))
    assert labels == heldout.labels
    np.testing.assert_allclose(probabilities, heldout.probabilities, atol=TOLERANCE)


def test_clients_at_once_each_get_their_own_rows(server, heldout):
    sizes = [1, 2, 3, 5, 8, 13]

    def ask(number):
        size = sizes[number % len(sizes)]
        first = (number * 37) % (len(heldout.inputs) - size)
        rows = slice(first, first + size)
        labels, probabilities = answered(server.infer(heldout.name, {"inputs": [heldout.tensor(rows)]}))
        assert labels == heldout.labels[rows]
        np.testing.assert_allclose(probabilities, heldout.probabilities[rows], atol=TOLERANCE)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(400)))


def test_one_bad_request_among_good_ones_fails_alone(server):
    """`fragile` gathers rows 0 to 4; a larger index makes the whole run fail, which must not reach the neighbours."""

    def ask(number):
        index = 999 if number % 5 == 0 else number % 4
        body = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [index]}]}
        response = server.infer("fragile", body)
        if index == 999:
            assert (response.status_code, response.json()["code"]) == (500, "execution_failed"), response.text
        else:
            assert response.status_code == 200, response.text
            return index, tuple(response.json()["outputs"][0]["data"])

    with ThreadPoolExecutor(16) as pool:
        answers = {answer for answer in pool.map(ask, range(300)) if answer}
    # One answer for each index, whoever its neighbours were.
    assert sorted(index for index, _ in answers) == [0, 1, 2, 3]
    assert len({values for _, values in answers}) == 4
