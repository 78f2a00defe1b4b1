"""Fire in small amounts, each in a few seconds; `make fire` takes all of it. See docs/faults.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import under_fire

SEEDS = (20_260_101, 7)


def test_kill_9_at_random_moments_loses_no_snapshot_and_doubles_no_minute(tmp_path: Path) -> None:
    under_fire.kill_at_random_moments(tmp_path, kills=6, seed=SEEDS[0])


def test_a_disk_that_is_full_to_the_last_byte_stops_nothing_but_writing(tmp_path: Path) -> None:
    under_fire.fill_the_disk(tmp_path, times=1)


def test_a_clock_set_by_an_hour_and_back_costs_nothing_of_the_history(tmp_path: Path) -> None:
    under_fire.set_the_clock(tmp_path, stay_s=0.5)


def test_a_good_target_misses_no_tick_among_bad_ones() -> None:
    under_fire.scrape_hostile_targets(seconds=6, interval_s=2)


def test_the_page_answers_at_once_in_a_crowd_that_only_wants_to_be_in_the_way(
    tmp_path: Path,
) -> None:
    under_fire.crowd_out(tmp_path, halves=60, streams=20, questions=60)


def test_running_out_of_files_neither_stops_scraping_nor_fills_the_log(tmp_path: Path) -> None:
    under_fire.run_out_of_files(tmp_path, files=120, connections=300, seconds=2)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_accident_of_an_exposition_ends_scraping_or_makes_a_snapshot_without_sense(
    seed: int,
) -> None:
    under_fire.scrape_made_up_expositions(inputs=2_000, seed=seed)


def test_no_accident_of_a_request_is_an_error_of_zaidash_or_is_left_without_an_answer(
    tmp_path: Path,
) -> None:
    under_fire.send_made_up_requests(tmp_path, requests=2_000, seed=SEEDS[0])
