import { describe, expect, it } from 'vitest';
import { toRows } from '../data/index.ts';
import { groupRows } from './by-group.ts';

const rows = toRows([{ kind: 'b' }, { kind: 7 }, { kind: 'b' }, { kind: false }]);

describe('groupRows', () => {
  it('gives all rows, then those of each value in the order of its first row', () => {
    expect(groupRows(rows, 'kind')).toEqual([
      { name: 'all', indices: [0, 1, 2, 3] },
      { name: 'b', indices: [0, 2] },
      { name: '7', indices: [1] },
      { name: 'false', indices: [3] },
    ]);
  });

  it('gives all rows alone without a column', () => {
    expect(groupRows(rows)).toEqual([{ name: 'all', indices: [0, 1, 2, 3] }]);
  });

  it('refuses a column that is missing or no name, and says what came', () => {
    expect(() => groupRows(toRows([{ kind: 'b' }, { other: 1, more: 2 }]), 'kind')).toThrow(
      /row 2, `kind`: expected a text, a number or true or false, to group by, received the columns other, more/,
    );
    expect(() => groupRows(toRows([{ kind: [1] }]), 'kind')).toThrow(/row 1, `kind`: .*received \[1\]/);
  });
});
