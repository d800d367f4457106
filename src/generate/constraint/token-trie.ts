/** Bytes of a vocabulary's tokens, as a trie: which tokens an automaton over bytes lets through is one walk. */

export interface TokenTrie {
  /** Bytes of a token; none for those that stand for no text. */
  readonly bytes: readonly Uint8Array[];
  readonly root: TrieNode;
  /** Every byte is a token of its own. */
  readonly complete: boolean;
}

export interface TrieNode {
  /** Tokens that end here. */
  readonly tokens: number[];
  readonly children: Map<number, TrieNode>;
}

const newNode = (): TrieNode => ({ tokens: [], children: new Map() });

/** A trie over the bytes of tokens, by id; tokens without bytes are left out. */
export function tokenTrie(bytes: readonly Uint8Array[]): TokenTrie {
  const root = newNode();
  bytes.forEach((word, token) => {
    if (word.length === 0) return;
    let node = root;
    for (const byte of word) {
      let next = node.children.get(byte);
      if (next === undefined) {
        next = newNode();
        node.children.set(byte, next);
      }
      node = next;
    }
    node.tokens.push(token);
  });
  const complete = Array.from({ length: 256 }, (_, byte) => root.children.get(byte)?.tokens.length ?? 0);
  // 0xC0, 0xC1 and 0xF5 to 0xFF are in no text.
  return {
    bytes,
    root,
    complete: complete.every((n, byte) => n > 0 || byte === 0xc0 || byte === 0xc1 || byte > 0xf4),
  };
}
