/**
 * Completions for bash, zsh and fish, made from the same table as the parser and the help.
 *
 * @module
 */
import { type Command, commands, options } from "./usage.js"

export const shells = ["bash", "zsh", "fish"] as const
export type Shell = (typeof shells)[number]

/** The script that a shell reads; each shell's own comment says where it goes. */
export const completions = (shell: Shell): string => ({ bash, zsh, fish })[shell]()

/** Commands whose operand is an image that is there. */
const takesImage = (command: Command) => command.operands[0] === "REFERENCE" && command.name !== "pull" && command.name !== "import"
/** Commands that take a file. */
const takesFile = (command: Command) => command.operands.includes("FILE")

interface Shown {
  readonly name: string
  readonly short: string | undefined
  readonly value: string | undefined
  readonly text: string
}

const shown = (command: Command): ReadonlyArray<Shown> =>
  command.options.map((name) => {
    const option: { readonly short?: string; readonly value?: string; readonly text: string } = options[name]
    return { name, short: option.short, value: option.value, text: option.text }
  })

const words = (command: Command) => shown(command).flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])])
const withValue = [...new Set(commands.flatMap(shown).filter(({ value }) => value !== undefined).flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]))]
const withFile = [...new Set(commands.flatMap(shown).filter(({ value }) => value === "FILE").flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]))]
/** Single-quoted for a shell. */
const quoted = (text: string) => `'${text.replace(/'/g, "'\\''")}'`

/** Operands that are one of a few words. */
const choices = (command: Command): ReadonlyArray<string> => (command.operands[0] === "SHELL" ? shells : [])

const bash = (): string => `# shifterimg for bash: source it, or put it in /etc/bash_completion.d or ~/.local/share/bash-completion/completions/shifterimg
# Names of images come from others. None is expanded, and one that the shell would read as more than a word is not offered.
_shifterimg_images() {
  local name
  while IFS= read -r name; do
    [[ $name == "$1"* && $name != *[!A-Za-z0-9_:/@.,+=-]* ]] && COMPREPLY+=("$name")
  done < <(shifterimg images --quiet 2>/dev/null)
}
_shifterimg() {
  # A reference holds colons, which readline takes for the end of a word.
  local line=\${COMP_LINE:0:COMP_POINT} words word command= each
  word=\${line##*[[:space:]]}
  read -ra words <<< "\${line%"$word"}"
  COMPREPLY=()
  case \${words[-1]} in
    ${withFile.join("|")}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    ${withValue.filter((each) => !withFile.includes(each)).join("|")}) return ;;
  esac
  for each in "\${words[@]:1}"; do
    case $each in
      ${commands.map(({ name }) => name).join("|")}) command=$each; break ;;
    esac
  done
  case $command in
    '') COMPREPLY=($(compgen -W ${quoted([...commands.map(({ name }) => name), "--help", "--version"].join(" "))} -- "$word")) ;;
${commands
  .map((command) => {
    const list = quoted([...words(command), ...choices(command)].join(" "))
    const images = takesImage(command) ? `; [[ $word == -* ]] || _shifterimg_images "$word"` : ""
    const files = takesFile(command) ? `; [[ $word == -* ]] || { compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word"); }` : ""
    return `    ${command.name}) COMPREPLY=($(compgen -W ${list} -- "$word"))${images}${files} ;;`
  })
  .join("\n")}
  esac
  if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
    each=\${word%"\${word##*:}"}
    COMPREPLY=("\${COMPREPLY[@]#"$each"}")
  fi
}
complete -F _shifterimg shifterimg
`

const zsh = (): string => `#compdef shifterimg
# shifterimg for zsh: put it in a directory of $fpath as _shifterimg
_shifterimg_images() { local -a found; found=(\${(f)"$(shifterimg images --quiet 2>/dev/null)"}); _wanted images expl image compadd -a found }
_shifterimg() {
  local -a commands; commands=(
${commands.map(({ name, text }) => `    ${quoted(`${name}:${text}`)}`).join("\n")}
  )
  local command=\${words[(r)(${commands.map(({ name }) => name).join("|")})]}
  case $command in
${commands
  .map((command) => {
    const specs = shown(command).flatMap(({ name, short, value, text }) => {
      const about = `[${text.replace(/[[\]:]/g, " ")}]`
      const argument = value === undefined ? "" : value === "FILE" ? ":file:_files" : `:${value}: `
      return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].map((each) => quoted(`${each}${about}${argument}`))
    })
    const operand = takesFile(command) ? [quoted("*:file:_files")] : takesImage(command) ? [quoted("*:image:_shifterimg_images")] : choices(command).length > 0 ? [quoted(`*:shell:(${choices(command).join(" ")})`)] : [quoted("*: : ")]
    return `    ${command.name}) _arguments ${[...specs, ...operand].join(" ")} ;;`
  })
  .join("\n")}
    *) _describe command commands ;;
  esac
}
_shifterimg "$@"
`

const fish = (): string =>
  [
    "# shifterimg for fish: put it in ~/.config/fish/completions/shifterimg.fish",
    "complete -c shifterimg -f",
    ...commands.map(({ name, text }) => `complete -c shifterimg -n __fish_use_subcommand -a ${name} -d ${quoted(text)}`),
    ...commands.flatMap((command) => {
      const here = quoted(`__fish_seen_subcommand_from ${command.name}`)
      return [
        ...shown(command).map(
          ({ name, short, value, text }) =>
            `complete -c shifterimg -n ${here} -l ${name}${short === undefined ? "" : ` -s ${short}`}${value === undefined ? "" : value === "FILE" ? " -r -F" : " -x"} -d ${quoted(text)}`
        ),
        ...(takesImage(command) ? [`complete -c shifterimg -n ${here} -a '(shifterimg images --quiet 2>/dev/null)'`] : []),
        ...(takesFile(command) ? [`complete -c shifterimg -n ${here} -F`] : []),
        ...(choices(command).length > 0 ? [`complete -c shifterimg -n ${here} -a ${quoted(choices(command).join(" "))}`] : [])
      ]
    }),
    ""
  ].join("\n")
