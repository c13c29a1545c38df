# frozen_string_literal: true

# Points the pictures of a Jekyll site at an imgmirror service while the site is built.
#
# With `imgmirror.url` the front matter and the finished page of every document go through the service's POST /rewrite.
# Without it, `imgmirror.base_url` has the command line rewrite the finished site. A failure is told: the addresses stay, or, with
# `on_error: fail`, the build ends.

require "fileutils"
require "json"
require "net/http"
require "open3"
require "uri"

module ImgMirror
  class Failure < StandardError; end

  DEFAULTS = {
    "url" => "", "token" => "", "token_env" => "IMGMIRROR_TOKEN", "all_images" => false, "responsive" => false,
    "on_error" => "warn", "timeout" => 60, "allow_loopback" => false, "command" => "imgmirror", "base_url" => "",
    "config" => ""
  }.freeze
  # What follows `/` or `?` is the source inside an address of the mirror.
  LOOPBACK = %r{(?<![/?])https?://(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/])}i.freeze
  TRIES = 4
  LONGEST_WAIT_SECONDS = 30
  # After so many requests in a row that got no answer the service is not asked again by this build.
  DEAD_AFTER = 3

  # One build: its options, its service, and what became of its pages.
  class Build
    def initialize(given)
      unknown = given.keys - DEFAULTS.keys
      fail_with("imgmirror in _config.yml: not known: #{unknown.join(", ")}") unless unknown.empty?
      @options = DEFAULTS.merge(given)
      unless %w[warn fail].include?(@options["on_error"])
        fail_with("imgmirror in _config.yml: on_error must be warn or fail")
      end
      @token = [@options["token"], ENV.fetch(@options["token_env"], "")].find { |text| !text.empty? }
      @unanswered = 0
      @failures = []
      @replaced = 0
    end

    def live?
      !@options["url"].empty?
    end

    # Rewrites the addresses of the front matter; the service's rules say which key takes which preset.
    def front_matter(document)
      fields = document.data.transform_values { |value| plain(value) }
      fields.select! { |_, value| value && JSON.generate(value).include?("//") }
      return if fields.empty?

      # JSON on one line, then nothing: an article that is all front matter.
      guarded(document) { merge(document.data, JSON.parse(rewrite("#{JSON.generate(fields)}\n"))) }
    end

    def page(document)
      return unless document.output_ext == ".html" && document.output&.include?("//")

      # An article may begin with front matter, a page does not.
      guarded(document) { document.output = rewrite("{}\n#{document.output}").delete_prefix("{}\n") }
    end

    # Rewrites the finished site with the command line.
    def site(folder)
      words = Array(@options["command"]) + ["rewrite", folder, "--write"]
      words += ["--base-url", @options["base_url"]]
      words += ["--config", @options["config"]] unless @options["config"].empty?
      words << "--all-images" if @options["all_images"]
      words << "--responsive" if @options["responsive"]
      said, status = Open3.capture2e(*words)
      # A site that is built anew each time needs no way back, and shall not publish one.
      FileUtils.rm_rf(File.join(folder, ".imgmirror"))
      status.success? ? Jekyll.logger.info("imgmirror:", said.lines.last.to_s.strip) : failed(folder, said.strip)
    rescue SystemCallError => e
      failed(folder, "#{words.first} cannot be started: #{e.message}")
    end

    def tell
      Jekyll.logger.info("imgmirror:", "#{@replaced} addresses replaced") if live?
      return if @failures.empty?

      Jekyll.logger.warn("imgmirror:", "#{@failures.size} pages keep addresses:")
      @failures.first(5).each { |failure| Jekyll.logger.warn("", failure) }
    end

    private

    # Returns a copy of texts, lists and mappings without anything else; nil when nothing is left.
    def plain(value)
      case value
      when String then value
      when Array then value.map { |item| plain(item) }
      when Hash
        kept = value.transform_values { |item| plain(item) }.compact
        kept unless kept.empty?
      end
    end

    # Puts the texts of `changed` into `target`, and leaves all that is no text.
    def merge(target, changed)
      places = changed.is_a?(Hash) ? changed.each_pair : changed.each_with_index.map { |value, place| [place, value] }
      places.each do |place, value|
        value.is_a?(String) ? target[place] = value : value && merge(target[place], value)
      end
    end

    def guarded(document)
      yield
    rescue Failure => e
      failed(document.relative_path, e.message)
    end

    def failed(name, message)
      fail_with("imgmirror: #{name}: #{message}") if @options["on_error"] == "fail"
      @failures << "#{name}: #{message}"
    end

    def fail_with(message)
      raise Jekyll::Errors::FatalException, message
    end

    def rewrite(text)
      answer = ask(text)
      replaced = answer["X-Imgmirror-Replaced"] or raise Failure, "#{@options["url"]} is not an imgmirror service"
      found = answer.body.dup.force_encoding(Encoding::UTF_8)
      if !@options["allow_loopback"] && found.scan(LOOPBACK).size > text.scan(LOOPBACK).size
        raise Failure, "the service wrote addresses of this machine: set server.public_url in its configuration"
      end
      @replaced += replaced.to_i
      found
    end

    def ask(text)
      (1..TRIES).each do |tries|
        answer = post(text)
        return answer if answer.is_a?(Net::HTTPOK)
        raise Failure, "the service answered #{answer.code} #{answer.body.to_s[0, 300]}" if answer.code != "503" || tries == TRIES

        sleep([(answer["Retry-After"] || tries).to_i, LONGEST_WAIT_SECONDS].min)
      end
    end

    def post(text)
      raise Failure, "#{@options["url"]} does not answer" if @unanswered >= DEAD_AFTER

      switches = %w[all_images responsive].select { |name| @options[name] }.map { |name| [name, "1"] }
      uri = URI("#{@options["url"].chomp("/")}/rewrite")
      uri.query = URI.encode_www_form(switches) unless switches.empty?
      request = Net::HTTP::Post.new(uri, "Content-Type" => "text/html; charset=utf-8")
      request["Authorization"] = "Bearer #{@token}" if @token
      request.body = text
      seconds = @options["timeout"]
      http = { use_ssl: uri.scheme == "https", open_timeout: seconds, read_timeout: seconds }
      answer = Net::HTTP.start(uri.hostname, uri.port, **http) { |connection| connection.request(request) }
      @unanswered = 0
      answer
    rescue SystemCallError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, EOFError => e
      @unanswered += 1
      raise Failure, "#{@options["url"]} does not answer: #{e.message}"
    end
  end

  class << self
    attr_accessor :build
  end
end

Jekyll::Hooks.register :site, :after_init do |site|
  ImgMirror.build = ImgMirror::Build.new(site.config["imgmirror"] || {})
  # Themes may print the whole configuration.
  site.config["imgmirror"]&.delete("token")
end

Jekyll::Hooks.register [:documents, :pages], :pre_render do |document|
  ImgMirror.build.front_matter(document) if ImgMirror.build.live?
end

Jekyll::Hooks.register [:documents, :pages], :post_render do |document|
  ImgMirror.build.page(document) if ImgMirror.build.live?
end

Jekyll::Hooks.register :site, :post_write do |site|
  by_command = !ImgMirror.build.live? && !(site.config["imgmirror"] || {}).fetch("base_url", "").empty?
  ImgMirror.build.site(site.dest) if by_command
  ImgMirror.build.tell
end
