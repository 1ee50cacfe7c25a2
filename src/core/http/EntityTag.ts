/**
 * Entity tags (RFC 9110, 8.8.1).
 *
 * @module
 */

/** The tag, if it stands for bytes: a weak one may be the same for others. */
export const strong = (etag: string | undefined): string | undefined => (etag !== undefined && /^"[\x21\x23-\x7e]*"$/.test(etag) ? etag : undefined)
