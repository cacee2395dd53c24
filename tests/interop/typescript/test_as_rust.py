"""What holds for the Rust peer holds for the one in TypeScript.

These are the tests of the Rust peer, under the same names. The fixtures of this folder
put the peer in TypeScript in its place. What only the Rust crates do is left out;
`test_differences` has what this peer does there.
"""

from __future__ import annotations

import pytest

from ..test_cancellation import (
    test_cancelling_a_call_ends_its_rust_handler,
    test_channels_of_a_cancelled_call_are_let_go_of,
    test_the_slot_of_a_cancelled_call_is_free_again,
)
from ..test_channels import (
    test_a_channel_may_be_left_out,
    test_a_rust_caller_has_these_channels_too,
    test_items_come_from_a_rust_caller_and_reach_it,
    test_items_go_both_ways_in_one_call_of_a_rust_caller,
    test_items_go_both_ways_in_one_call_of_rust,
    test_items_have_types_of_their_own,
    test_items_of_rust_come_after_its_response,
    test_items_reach_a_rust_caller_after_its_response,
    test_items_reach_rust_and_come_from_it,
    test_the_two_agree_on_windows_of_other_sizes,
)
from ..test_connections import (
    test_a_hundred_connections_are_open_to_rust_at_once,
    test_closing_a_connection_ends_its_rust_handlers_and_no_other,
    test_metadata_of_the_handshake_arrives,
    test_pings_of_rust_are_answered,
    test_rust_accepts_connections_by_the_names_of_services,
    test_rust_answers_pings,
    test_rust_asks_what_is_offered_and_watches_it_until_the_end,
    test_rust_has_a_hundred_connections_open_at_once,
    test_rust_opens_uses_and_closes_connections,
    test_rust_rejects_other_names_and_says_why,
    test_what_is_tolerated_of_other_peers_is_not_needed_for_rust,
)
from ..test_faults import (
    test_errors_of_rust_methods_are_raised,
    test_rust_gets_every_kind_of_error,
    test_rust_refuses_arguments_that_do_not_decode,
    test_what_goes_wrong_in_rust_is_a_kind_of_its_own,
)
from ..test_proxy import (
    place_of_rust,
    test_a_proxy_joins_two_rust_peers,
    test_a_proxy_opens_for_one_rust_peer_at_the_other,
    test_a_proxy_passes_on_what_a_rust_peer_rejects,
)
from ..test_values import (
    test_rust_gets_its_values_back,
    test_rust_gives_back_values_of_every_type,
    test_rust_reads_every_integer_as_it_was_meant,
)
from ..test_volumes import (
    test_1000_calls_are_in_flight_to_rust_at_once,
    test_1000_calls_at_once_wait_for_the_slots_that_rust_has,
    test_1000_calls_of_rust_are_in_flight_at_once,
    test_payloads_of_1_mib_come_from_a_rust_caller,
    test_payloads_of_1_mib_go_to_rust_and_come_back,
)

__all__ = [
    "place_of_rust",
    "test_1000_calls_are_in_flight_to_rust_at_once",
    "test_1000_calls_at_once_wait_for_the_slots_that_rust_has",
    "test_1000_calls_of_rust_are_in_flight_at_once",
    "test_a_channel_may_be_left_out",
    "test_a_hundred_connections_are_open_to_rust_at_once",
    "test_a_proxy_joins_two_rust_peers",
    "test_a_proxy_opens_for_one_rust_peer_at_the_other",
    "test_a_proxy_passes_on_what_a_rust_peer_rejects",
    "test_a_rust_caller_has_these_channels_too",
    "test_cancelling_a_call_ends_its_rust_handler",
    "test_channels_of_a_cancelled_call_are_let_go_of",
    "test_closing_a_connection_ends_its_rust_handlers_and_no_other",
    "test_errors_of_rust_methods_are_raised",
    "test_items_come_from_a_rust_caller_and_reach_it",
    "test_items_go_both_ways_in_one_call_of_a_rust_caller",
    "test_items_go_both_ways_in_one_call_of_rust",
    "test_items_have_types_of_their_own",
    "test_items_of_rust_come_after_its_response",
    "test_items_reach_a_rust_caller_after_its_response",
    "test_items_reach_rust_and_come_from_it",
    "test_metadata_of_the_handshake_arrives",
    "test_payloads_of_1_mib_come_from_a_rust_caller",
    "test_payloads_of_1_mib_go_to_rust_and_come_back",
    "test_pings_of_rust_are_answered",
    "test_rust_accepts_connections_by_the_names_of_services",
    "test_rust_answers_pings",
    "test_rust_asks_what_is_offered_and_watches_it_until_the_end",
    "test_rust_gets_every_kind_of_error",
    "test_rust_gets_its_values_back",
    "test_rust_gives_back_values_of_every_type",
    "test_rust_has_a_hundred_connections_open_at_once",
    "test_rust_opens_uses_and_closes_connections",
    "test_rust_reads_every_integer_as_it_was_meant",
    "test_rust_refuses_arguments_that_do_not_decode",
    "test_rust_rejects_other_names_and_says_why",
    "test_the_slot_of_a_cancelled_call_is_free_again",
    "test_the_two_agree_on_windows_of_other_sizes",
    "test_what_goes_wrong_in_rust_is_a_kind_of_its_own",
    "test_what_is_tolerated_of_other_peers_is_not_needed_for_rust",
]

pytestmark = pytest.mark.interop
