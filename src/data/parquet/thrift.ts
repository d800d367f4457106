/** A check of Thrift compact structures before a parser allocates what they claim. */

/** The claim of a file that its bytes do not bear out, with the byte where it stands. */
export class FileClaimError extends Error {
  /** From the start of the bytes that were checked. */
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.name = 'FileClaimError';
    this.offset = offset;
  }
}

const MAX_DEPTH = 32;
/** Bytes of a 64-bit number in groups of seven bits. */
const MAX_VARINT = 10;

/**
 * Walks one structure without allocating anything. A list that claims more elements than bytes are left, a text longer than
 * what is left, nesting deeper than 32 and numbers that never end are refused: what a parser then builds is proportional
 * to the bytes walked.
 *
 * @returns the offset behind the structure
 * @throws FileClaimError
 * @source Apache Thrift, `doc/specs/thrift-compact-protocol.md`
 */
export function checkThrift(bytes: Uint8Array, start: number): number {
  let at = start;

  const byte = (): number => {
    const value = bytes[at];
    if (value === undefined) throw new FileClaimError(at, 'a structure that ends behind the last byte');
    at++;
    return value;
  };
  const varint = (): number => {
    let value = 0;
    for (let index = 0; index < MAX_VARINT; index++) {
      const next = byte();
      value += (next & 0x7f) * 2 ** (7 * index);
      if (next < 0x80) return value;
    }
    throw new FileClaimError(at - MAX_VARINT, 'a number of more than 10 bytes');
  };
  const skip = (count: number): void => {
    if (count > bytes.length - at) {
      throw new FileClaimError(at, `a value of ${count} bytes where ${bytes.length - at} are left`);
    }
    at += count;
  };
  const element = (type: number, depth: number): void => {
    switch (type) {
      case 1:
      case 2:
        return;
      case 3:
        skip(1);
        return;
      case 4:
      case 5:
      case 6:
        varint();
        return;
      case 7:
        skip(8);
        return;
      case 8:
        skip(varint());
        return;
      case 9: {
        const from = at;
        const head = byte();
        const size = head >> 4 === 15 ? varint() : head >> 4;
        if (size > bytes.length - at) {
          throw new FileClaimError(
            from,
            `a list of ${size} elements where ${bytes.length - at} bytes are left`,
          );
        }
        const kind = head & 15;
        // A list writes its booleans as bytes, a field keeps them in its type.
        for (let index = 0; index < size; index++) element(kind === 1 || kind === 2 ? 3 : kind, depth);
        return;
      }
      case 12:
        struct(depth + 1);
        return;
      default:
        throw new FileClaimError(at - 1, `a value of the unknown Thrift type ${type}`);
    }
  };
  const struct = (depth: number): void => {
    if (depth > MAX_DEPTH) throw new FileClaimError(at, `structures nested deeper than ${MAX_DEPTH}`);
    for (;;) {
      const head = byte();
      if ((head & 15) === 0) return;
      if (head >> 4 === 0) varint();
      element(head & 15, depth);
    }
  };

  struct(0);
  return at;
}
