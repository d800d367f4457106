/**
 * Where @huggingface/tokenizers 0.2.0 gives other ids or texts than the library it follows (`tokenizers` in Rust), and how
 * to have it agree: steps are put in another form with the same meaning. Golden tests over 500 texts hold each of them.
 */

type Json = { readonly [key: string]: unknown };

/** What GPT-2's `ByteLevel` step splits by. Written as a `Split`, whose `\s` is that of Unicode; the step's own takes U+FEFF for a space and U+0085 for none. */
const BYTE_LEVEL_SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Ideographs beyond U+FFFF that BERT sets apart; the library's normalizer sees halves of them. */
const WIDE_IDEOGRAPHS = '([\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2CEAF}\\x{2F800}-\\x{2FA1F}])';

/** The definition of a tokenizer with the steps that the library does not follow written another way. */
export function faithfulDefinition(definition: Json): Json {
  return {
    ...definition,
    normalizer: rewrite(definition.normalizer, 'normalizers', faithfulNormalizer),
    pre_tokenizer: rewrite(definition.pre_tokenizer, 'pretokenizers', faithfulSplit),
  };
}

function rewrite(component: unknown, children: string, change: (step: Json) => Json[]): unknown {
  if (typeof component !== 'object' || component === null) return component;
  const step = component as Json;
  if (step.type === 'Sequence' && Array.isArray(step[children])) {
    return { ...step, [children]: step[children].map((child) => rewrite(child, children, change)) };
  }
  const steps = change(step);
  return steps.length === 1 ? steps[0] : { type: 'Sequence', [children]: steps };
}

function faithfulSplit(step: Json): Json[] {
  const split = (pattern: string): Json => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  });
  // The library knows the digits 0–9 only; numbers in Rust are all of the categories Nd, Nl and No.
  if (step.type === 'Digits') return [split(step.individual_digits === true ? '\\p{N}' : '\\p{N}+')];
  // A prefix space would be put before each part, so that form is left as it is.
  if (step.type === 'ByteLevel' && step.use_regex !== false && step.add_prefix_space === false) {
    return [split(BYTE_LEVEL_SPLIT), { ...step, use_regex: false }];
  }
  return [step];
}

function faithfulNormalizer(step: Json): Json[] {
  if (step.type !== 'BertNormalizer' || step.handle_chinese_chars === false) return [step];
  return [{ type: 'Replace', pattern: { Regex: WIDE_IDEOGRAPHS }, content: ' $1 ' }, step];
}

/** Makes the byte decoder of a built tokenizer keep U+FEFF, and write one U+FFFD for each byte that is no text. */
export function repairByteDecoder(decoder: unknown): void {
  if (decoder === null || decoder === undefined) return;
  const own = decoder as { decoders?: unknown; config?: { type?: unknown }; text_decoder?: unknown };
  if (Array.isArray(own.decoders)) own.decoders.forEach(repairByteDecoder);
  if (own.config?.type === 'ByteFallback' && own.text_decoder !== undefined) own.text_decoder = byteDecoder;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const byteDecoder = {
  decode(bytes: Uint8Array): string {
    try {
      return strict.decode(bytes);
    } catch {
      return '\ufffd'.repeat(bytes.length);
    }
  },
};
