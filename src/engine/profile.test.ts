import { describe, expect, it } from 'vitest';
import { DataError } from '../core/errors.ts';
import { summarizeProfile } from './profile.ts';

const event = (name: string, dur: number, op: string, cat = 'Node'): object => ({
  cat,
  name,
  dur,
  ts: 1,
  ph: 'X',
  args: { op_name: op },
});

describe('summarizeProfile', () => {
  it('sums kernel times by operation, longest first', () => {
    const text = JSON.stringify([
      event('session_initialization', 500, '', 'Session'),
      event('matmul_3_kernel_time', 10, 'FusedMatMul'),
      event('matmul_12.1_kernel_time', 5, 'MatMul'),
      event('matmul_12_fence_before', 99, 'MatMul'),
      event('add_4_kernel_time', 40, 'Add'),
      event('matmul_3_kernel_time', 7, 'FusedMatMul'),
      event('model_run', 900, '', 'Session'),
    ]);
    expect(summarizeProfile(text)).toEqual([
      { op: 'add', calls: 1, microseconds: 40 },
      { op: 'matmul', calls: 3, microseconds: 22 },
    ]);
  });

  it('reads through what fusion appends, and falls back to the ONNX operator', () => {
    const text = JSON.stringify([
      event('scatterAddRows_7/fused/_kernel_time', 3, 'ScatterElements'),
      event('Transpose_token_1_kernel_time', 2, 'Transpose'),
      event('_kernel_time', 1, 'MemcpyToHost'),
    ]);
    expect(summarizeProfile(text)).toEqual([
      { op: 'scatterAddRows', calls: 1, microseconds: 3 },
      { op: 'Transpose_token', calls: 1, microseconds: 2 },
      { op: 'MemcpyToHost', calls: 1, microseconds: 1 },
    ]);
  });

  it('refuses other text', () => {
    for (const text of ['', '{"a": 1}', '[{"cat":']) expect(() => summarizeProfile(text)).toThrow(DataError);
  });
});
