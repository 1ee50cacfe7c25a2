/** Image references: every vector of both languages, and what was seen on the reference. */
import { readFileSync } from 'node:fs'
import { Either } from 'effect'
import { ImageRef } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'

interface Vector {
  readonly input: string
  readonly defaultType: string
  readonly accept: boolean
  readonly code?: string
  readonly hint?: string
  readonly type?: string
  readonly reference?: string
  readonly canonical?: string | null
}
interface Row {
  readonly input: string
  readonly accept: boolean
  readonly type: string | null
  readonly tag: string | null
  readonly want?: { readonly accept: boolean; readonly type?: string; readonly tag?: string }
}
const load = <A>(path: string): readonly A[] => (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { cases: A[] }).cases

const short = (text: string) => (text.length > 60 ? `${text.slice(0, 57)}...` : text)

describe('image references', () => {
  for (const vector of load<Vector>('../../formats/vectors/image-reference.json')) {
    it(`vector ${JSON.stringify(short(vector.input))} (${vector.defaultType})`, () => {
      const parsed = ImageRef.parse(vector.input, vector.defaultType)
      if (Either.isLeft(parsed)) {
        expect(vector.accept).toBe(false)
        expect(parsed.left.code).toBe(vector.code)
        expect(parsed.left.what).toContain(vector.hint ?? '')
        return
      }
      expect(vector.accept).toBe(true)
      expect(parsed.right).toMatchObject({ type: vector.type, reference: vector.reference, canonical: vector.canonical })
    })
  }

  for (const [file, defaultType] of [['image_descriptor', 'docker'], ['image_descriptor_baddefault', 'invalid']] as const) {
    for (const row of load<Row>(`../cases/${file}.json`)) {
      it(`${file}: ${JSON.stringify(row.input)}`, () => {
        const { accept, type, tag } = { ...row, ...row.want }
        const parsed = ImageRef.parse(row.input, defaultType)
        expect(Either.isRight(parsed)).toBe(accept)
        if (Either.isRight(parsed)) expect({ type: parsed.right.type, tag: parsed.right.reference }).toEqual({ type, tag })
      })
    }
  }

  it('makes a path absolute, so that it has a name', () => {
    const ref = ImageRef.absolute(ImageRef.parseOrThrow('oci:layouts/../a:v1'), '/srv')
    expect(ref.canonical).toBe('oci:/srv/a:v1')
  })
})
