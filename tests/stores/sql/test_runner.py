"""Work in threads, questions back to the loop."""

import threading

import pytest


async def test_question_is_asked_on_the_loop_and_answered_in_the_transaction(store):
    asked_in = []

    def question(text, *, mark):
        asked_in.append(threading.current_thread())
        return text + mark

    ask = store.writer.on_loop(question)
    answer = await store.writer._runner.run(lambda connection: ask("a", mark="!"))
    assert answer == "a!"
    assert asked_in == [threading.main_thread()]


async def test_question_that_fails_fails_in_the_transaction(store):
    def question():
        raise LookupError("no")

    ask = store.writer.on_loop(question)
    with pytest.raises(LookupError):
        await store.writer._runner.run(lambda connection: ask())
