"""Counting in the text of a compiled program."""

from __future__ import annotations

from launch.bench.compiled_text import count_bytes, count_compiled, list_collectives, read_frames

TEXT = """HloModule jit_step, is_scheduled=true

FileNames
1 "/somewhere/else/linear.py"

FunctionNames
1 "step"

FileLocations
1 {file_name_id=1 function_name_id=1 line=287 end_line=287 column=14 end_column=20}

StackFrames
1 {file_location_id=1 parent_frame_id=1}

%fused_computation.1 (param_0: s32[2,8]) -> s32[8,8] {
  %param_0 = s32[2,8]{1,0:T(8,128)} parameter(0)
  ROOT %all-gather.1 = s32[8,8]{1,0:T(8,128)} all-gather(%param_0), channel_id=7, dimensions={0}, metadata={op_name="jit(step)/jvp()/gather" stack_frame_id=1}
}

%fused_computation.2 (param_0.1: s32[2,8]) -> s32[8,8] {
  %param_0.1 = s32[2,8]{1,0:T(8,128)} parameter(0)
  ROOT %all-gather.2 = s32[8,8]{1,0:T(8,128)} all-gather(%param_0.1), channel_id=7, dimensions={0}, metadata={op_name="jit(step)/jvp()/gather" stack_frame_id=1}
}

ENTRY %main.5 (a: f32[4], b: s32[2,8]) -> f32[4] {
  %a = f32[4]{0:T(128)} parameter(0)
  %b = s32[2,8]{1,0:T(8,128)} parameter(1)
  %fusion.1 = s32[8,8]{1,0:T(8,128)} fusion(%b), kind=kLoop, calls=%fused_computation.1
  %fusion.2 = s32[8,8]{1,0:T(8,128)} fusion(%b), kind=kLoop, calls=%fused_computation.2
  %both = (f32[4]{0:T(128)}, /*index=1*/bf16[3]{0:T(128)(2,1)}) all-reduce(%a, %c), channel_id=8, to_apply=%add, metadata={op_name="jit(step)/reduce_sum"}
  %moved = (pred[6]{0}, pred[6]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%d), channel_id=9
  %there = pred[6]{0} collective-permute-done(%moved)
  %copy.1 = f32[4]{0:T(128)} copy(%a)
  ROOT %while.1 = f32[4]{0:T(128)} while(%copy.1), condition=%cond, body=%body
}
"""  # noqa: E501


def test_what_is_launched():
    assert count_compiled(TEXT) == {
        "compiled_instructions": 13,
        "entry_fusions": 2,
        "fusions": 2,
        "copies": 1,
        "loops": 1,
    }


def test_exchanges():
    """The all-gather stands twice, in two parts of the work that it goes on beside."""
    assert list_collectives(TEXT) == [
        {"kind": "all-gather", "shape": "s32[8,8]", "bytes": 256, "operation": "jvp()/gather",
         "line": "linear.py:287", "count": 1},
        {"kind": "all-reduce", "shape": "f32[4] bf16[3]", "bytes": 4 * 4 + 3 * 2,
         "operation": "reduce_sum", "line": "", "count": 1},
        {"kind": "collective-permute", "shape": "pred[6]", "bytes": 6, "operation": "",
         "line": "", "count": 1},
    ]  # fmt: skip


def test_a_text_without_frames():
    assert read_frames("HloModule jit_step\n") == {}


def test_bytes():
    assert count_bytes("bf", "16", "3,4") == 24
    assert count_bytes("pred", "", "5") == 5
    assert count_bytes("f", "32", "") == 4
