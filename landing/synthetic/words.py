"""The words of generated logs: what topics speak of, and how a title is put together.

Everything here was written for this project. A topic's words stand in the order of how often
they are used; no word belongs to two topics, so that a title tells its topic. Site names are
made up, and their hosts end in `.example`, which nobody can own.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.replace("\n", " ").split(","))


TOPICS: dict[str, tuple[str, ...]] = {
    "American Football": _words(
        """Quarterbacks, NFL, Touchdowns, Wide Receivers, Linebackers, Super Bowl Rings, Draft
        Picks, Kickers, Running Backs, Field Goals, Cornerbacks, Tight Ends, Offensive Lines,
        Blitzes, Interceptions, End Zones, Helmet Rules, Preseason Camps, Punt Returns, Onside
        Kicks"""
    ),
    "Soccer": _words(
        """Strikers, Premier League, Penalty Kicks, Goalkeepers, Midfielders, Transfer Windows,
        World Cup, Free Kicks, Corner Kicks, Offside Calls, Hat Tricks, Left Backs, Relegation
        Battles, Away Goals, Red Cards, Stoppage Time, Derby Days, Youth Academies, Wingers, Clean
        Sheets"""
    ),
    "Basketball": _words(
        """Point Guards, NBA, Free Throws, Rebounds, Three-Pointers, Slam Dunks, Buzzer Beaters,
        Triple-Doubles, Power Forwards, Full-Court Press, Zone Defense, Sixth Men, Alley-Oops,
        Shot Clocks, Pick and Roll, Layups, Jump Shots, Backboards, March Brackets, Rookie
        Contracts"""
    ),
    "Baseball": _words(
        """Pitchers, Home Runs, Shortstops, Batting Averages, Bullpens, Curveballs, Stolen Bases,
        Double Plays, Spring Training, Outfielders, No-Hitters, Fastballs, Catchers, Dugouts,
        Extra Innings, Designated Hitters, Grand Slams, Sliders on the Mound, Infield Flies,
        Pennants"""
    ),
    "Tennis": _words(
        """Grand Slam Finals, Serves, Backhands, Forehands, Clay Courts, Wimbledon, Tiebreaks,
        Volleys, Rackets, Drop Shots, Grass Courts, Seeds and Qualifiers, Match Points, Mixed
        Doubles, Lobs, Baseline Rallies, Line Judges, String Tension, Double Faults, Topspin"""
    ),
    "Running": _words(
        """Marathons, Running Shoes, Half Marathons, Long Runs, Interval Training, Trail Runs,
        Race Pace, Stride Length, Shin Splints, Tempo Runs, Parkruns, Cross Country, Hill Repeats,
        Hydration Belts, Ultramarathons, Cadence, Cool-Downs, Finish Lines, Negative Splits,
        Barefoot Runs"""
    ),
    "Cycling": _words(
        """Road Bikes, Mountain Bikes, Tour Stages, Derailleurs, Bike Lanes, Pelotons, Gravel
        Rides, Pedals, Time Trials, Chainrings, Bike Helmets, Carbon Frames, Inner Tubes,
        Velodromes, Saddles, Disc Brakes, Commuter Bikes, Bottom Brackets, Handlebars, Spokes"""
    ),
    "Golf": _words(
        """Putters, Fairways, Birdies, Drivers and Woods, Bunkers, Green Fees, Wedges, Golf
        Courses, Caddies, Tee Times, Eagles on the Back Nine, Handicaps, Chip Shots, Masters
        Sunday, Golf Swings, Links Courses, Bogeys, Iron Sets, Ryder Teams, Holes in One"""
    ),
    "Winter Sports": _words(
        """Ski Slopes, Snowboards, Figure Skating, Ice Hockey, Cross-Country Skis, Lift Tickets,
        Curling, Powder Days, Bobsleds, Chairlifts, Biathlon, Ski Boots, Half-Pipes, Avalanche
        Beacons, Luge, Slalom, Ski Jumps, Speed Skates, Snow Reports, Moguls"""
    ),
    "Fitness": _words(
        """Push-Ups, Dumbbells, Yoga Mats, Squats, Core Workouts, Protein Shakes, Deadlifts,
        Planks, Pilates, Kettlebells, Gym Memberships, Treadmills, Stretching, Pull-Ups,
        Resistance Bands, Burpees, Rowing Machines, Rest Days, Warm-Ups, Personal Trainers"""
    ),
    "Nutrition": _words(
        """Vitamins, Whole Grains, Calories, Leafy Greens, Low-Carb Diets, Antioxidants, Fiber,
        Omega Fats, Meal Plans, Probiotics, Added Sugar, Plant Protein, Food Labels, Portion
        Sizes, Iron and Zinc, Superfoods, Fasting Windows, Snack Swaps, Electrolytes, Macros"""
    ),
    "Medicine": _words(
        """Vaccines, Flu Symptoms, Blood Pressure, Allergies, Migraines, Antibiotics, Cholesterol,
        Diabetes, Asthma, Clinical Trials, Back Pain, Heart Disease, Nurses, Sore Throats,
        Prescriptions, Arthritis, Checkups, Emergency Rooms, X-Rays, Stitches"""
    ),
    "Mental Health": _words(
        """Anxiety, Sleep Habits, Meditation, Therapists, Burnout, Stress, Mindfulness, Panic
        Attacks, Gratitude Journals, Insomnia, Self-Esteem, Grief, Support Groups, Breathing
        Exercises, Loneliness, Screen Breaks, Counseling, Boundaries, Mood Swings, Phobias"""
    ),
    "Parenting": _words(
        """Toddlers, Newborns, Bedtime Routines, Strollers, Potty Training, Baby Names, Diapers,
        Teenagers, Babysitters, Car Seats, Picky Eaters, Playdates, Allowances, Tantrums,
        Daycares, Baby Monitors, Lunch Boxes, Homework Battles, Cribs, Siblings"""
    ),
    "Recipes": _words(
        """Chicken Soup, Pasta Sauces, Slow-Cooker Dinners, Stir-Fries, Curries, Salads, Tacos,
        Casseroles, Sheet-Pan Suppers, Risotto, Roast Vegetables, Meatballs, Chili, Noodle Bowls,
        Marinades, Dumplings, Omelets, Lentil Stews, Fish Cakes, Pickles"""
    ),
    "Baking": _words(
        """Sourdough, Chocolate Cakes, Cookies, Pie Crusts, Cupcakes, Croissants, Bread Flour,
        Brownies, Buttercream, Yeast, Muffins, Cheesecakes, Macarons, Piping Bags, Cinnamon Rolls,
        Shortbread, Baking Sheets, Meringues, Puff Pastry, Sponge Layers"""
    ),
    "Wine and Beer": _words(
        """Red Wines, Craft Beers, Vineyards, Pinot Noir, Pale Ales, Cellars, Tasting Notes,
        Stouts, Sommeliers, Hops, Rosé, Decanters, Lagers, Corks, Harvest Vintages, Breweries,
        Champagne, Wheat Beers, Oak Barrels, Riesling"""
    ),
    "Coffee and Tea": _words(
        """Espresso Machines, Cold Brew, Green Tea, Coffee Beans, French Presses, Matcha,
        Baristas, Lattes, Pour-Overs, Grinders, Herbal Teas, Milk Foam, Teapots, Arabica, Oolong,
        Moka Pots, Cappuccinos, Chai, Roasters, Loose Leaves"""
    ),
    "Restaurants": _words(
        """Brunch Spots, Food Trucks, Tasting Menus, Sushi Bars, Steakhouses, Reservations,
        Pizzerias, Chefs, Star Ratings, Ramen Shops, Waiters, Street Food, Rooftop Bars, Bistros,
        Dress Codes, Buffets, Takeaways, Noodle Houses, Diners, Oyster Bars"""
    ),
    "Travel": _words(
        """Flights, Hotels, Passports, Beaches, Road Trips, Backpacks, Visas, City Breaks, Travel
        Insurance, Airport Lounges, Hostels, Jet Lag, Itineraries, Cruises, Carry-On Bags, Rail
        Passes, Islands, Guidebooks, Souvenirs, Layovers"""
    ),
    "Hiking and Camping": _words(
        """Tents, Trail Maps, Sleeping Bags, National Parks, Campfires, Hiking Boots, Campsites,
        Waterfalls, Headlamps, Bear Canisters, Day Hikes, Trekking Poles, Water Filters, Summits,
        Camp Stoves, Hammocks, Switchbacks, Rain Jackets, Compasses, Lookout Towers"""
    ),
    "Cars": _words(
        """Sedans, Used Cars, SUVs, Horsepower, Oil Changes, Dealerships, Spark Plugs, Gas
        Mileage, Pickup Trucks, Transmissions, Crash Tests, Winter Tires, Brake Pads,
        Convertibles, Car Leases, Dashcams, Recalls, Station Wagons, Timing Belts, Windshields"""
    ),
    "Electric Vehicles": _words(
        """Charging Stations, Battery Range, Electric Cars, Plug-In Hybrids, Fast Chargers, Home
        Chargers, Regenerative Braking, Electric Trucks, Battery Swaps, Range Anxiety, Charging
        Cables, E-Scooters, Electric Motors, Kilowatts, Heat Pumps on Wheels, Charging Apps,
        One-Pedal Driving, Electric Vans, Cell Makers, Road Tax Credits"""
    ),
    "Aviation": _words(
        """Jet Engines, Pilots, Runways, Airliners, Cockpits, Air Traffic Control, Gliders,
        Turbulence, Helicopters, Wingtips, Flight Simulators, Black Boxes, Landing Gear, Hangars,
        Seaplanes, Tailwinds, Air Shows, Boarding Doors, Turboprops, Altimeters"""
    ),
    "Smartphones": _words(
        """Phone Cameras, Android Updates, Screen Protectors, Foldable Phones, Battery Life,
        Ringtones, SIM Cards, Phone Cases, App Stores, Fingerprint Readers, Wireless Charging,
        Notifications, Selfies, Data Plans, Face Unlock, Emojis, Storage Full Warnings, Widgets,
        Phone Plans, Voice Assistants"""
    ),
    "Computers": _words(
        """Laptops, Graphics Cards, Keyboards, Solid-State Drives, Monitors, Processors,
        Motherboards, USB Hubs, Webcams, Desktop Builds, Trackpads, Printers, Cooling Fans, RAM
        Upgrades, Docking Stations, Touchscreens, Boot Errors, Power Supplies, Device Managers,
        Scanners"""
    ),
    "Programming": _words(
        """Python Functions, Git Branches, Unit Tests, Code Reviews, Compilers, Databases, Web
        Frameworks, Debuggers, Regular Expressions, Pull Requests, Containers, Type Hints, Stack
        Traces, Pointers, Recursion, Linters, Open-Source Licenses, Package Managers, Sorting
        Algorithms, Memory Leaks"""
    ),
    "Artificial Intelligence": _words(
        """Neural Networks, Chatbots, Machine Learning, Training Data, Language Models, Deepfakes,
        Robots, Image Recognition, Benchmarks, Self-Driving Software, Prompts, Speech Synthesis,
        Embeddings, Reinforcement Learning, Recommender Systems, Classifiers, Gradient Descent,
        Bias Audits, Translation Systems, Overfitting"""
    ),
    "Cybersecurity": _words(
        """Passwords, Phishing Emails, Ransomware, Firewalls, Data Breaches, Two-Factor Codes,
        VPNs, Malware, Zero-Day Bugs, Encryption Keys, Identity Theft, Spyware, Security Patches,
        Password Managers, Botnets, Bug Bounties, Passkeys, Backdoors, Penetration Tests, Spam
        Filters"""
    ),
    "Video Games": _words(
        """Boss Fights, Game Consoles, Speedruns, Role-Playing Games, Controllers, Patch Notes,
        Esports, Loot Boxes, Open Worlds, Side Quests, Level Design, Indie Games, Multiplayer
        Lobbies, Game Mods, Skill Trees, Cheat Codes, Platformers, Achievements, Shooters, Battle
        Passes"""
    ),
    "Board Games": _words(
        """Chess Openings, Dice, Card Decks, Strategy Games, Checkmates, Miniatures, Party Games,
        Rulebooks, Jigsaw Puzzles, Game Nights, Dungeon Masters, Poker Hands, Crosswords, Deck
        Builders, Scrabble Words, Endgames, Backgammon, Tile Games, Score Pads, Sudoku Grids"""
    ),
    "Movies": _words(
        """Box Office, Trailers, Film Directors, Sequels, Superhero Films, Oscars, Horror Movies,
        Screenplays, Film Festivals, Stunts, Documentaries, Movie Soundtracks, Plot Twists, Silent
        Films, Casting News, Premieres, Animated Films, Remakes, Film Critics, Post-Credit
        Scenes"""
    ),
    "Television": _words(
        """Season Finales, TV Dramas, Sitcoms, Reality Shows, Streaming Services, Episodes, Talk
        Shows, Spoilers, Game Shows, Cliffhangers, Showrunners, Reruns, Late-Night Hosts, Binge
        Lists, Pilot Episodes, Soap Operas, Miniseries, Crime Dramas, Theme Tunes, Emmys"""
    ),
    "Music": _words(
        """Albums, Guitar Chords, Concert Tours, Vinyl Records, Playlists, Drummers, Pop Singles,
        Jazz Standards, Lyrics, Music Festivals, Piano Lessons, Bass Lines, Hip-Hop, Headphones,
        Choirs, Violin Strings, Encores, Synthesizers, Symphonies, Karaoke"""
    ),
    "Books": _words(
        """Novels, Bestsellers, Libraries, Book Clubs, Mystery Writers, Poetry, Paperbacks,
        Memoirs, Fantasy Sagas, Audiobooks, Bookshops, Short Stories, Publishers, Reading Lists,
        First Editions, Biographies, Plot Outlines, Literary Prizes, Footnotes, E-Readers"""
    ),
    "Fashion": _words(
        """Sneakers, Handbags, Denim, Runway Shows, Summer Dresses, Winter Coats, Suits,
        Designers, Thrift Stores, Scarves, Ankle Boots, Wardrobes, Knitwear, Sunglasses, Street
        Style, Tailors, Jewelry, Linen Shirts, Capsule Closets, Ties"""
    ),
    "Beauty": _words(
        """Skin Care, Lipsticks, Sunscreen, Hair Colors, Nail Polish, Serums, Perfumes,
        Moisturizers, Mascara, Curly Hair, Face Masks, Haircuts, Retinol, Eyebrows, Makeup
        Brushes, Shampoo, Acne, Beards, Foundation Shades, Bath Oils"""
    ),
    "Home Improvement": _words(
        """Kitchen Cabinets, Paint Colors, Bathroom Tiles, Hardwood Floors, Plumbing, Drywall,
        Power Drills, Wallpaper, Leaky Faucets, Insulation, Decks, Roof Repairs, Countertops,
        Light Fixtures, Toolboxes, Caulk, Garage Doors, Stair Rails, Floor Plans, Gutters"""
    ),
    "Gardening": _words(
        """Tomatoes, Raised Beds, Roses, Compost, Houseplants, Seeds and Bulbs, Lawn Care,
        Pruning, Weeds, Mulch, Herb Gardens, Succulents, Fertilizer, Greenhouses, Hedges, Slugs,
        Orchids, Watering Cans, Tulips, Potting Soil"""
    ),
    "Pets": _words(
        """Puppies, Cats, Dog Food, Veterinarians, Litter Boxes, Dog Breeds, Kittens, Fish Tanks,
        Leashes, Parrots, Pet Adoption, Fleas and Ticks, Hamsters, Dog Walkers, Scratching Posts,
        Rabbits, Chew Toys, Obedience Classes, Grooming, Guinea Pigs"""
    ),
    "Wildlife": _words(
        """Birds, Whales, Wolves, Bears, Endangered Species, Bees, Elephants, Sharks, Owls,
        Butterflies, Coral Reefs, Migration, Snakes, Tigers, Penguins, Wetlands, Nests, Otters,
        Bats, Frogs"""
    ),
    "Climate": _words(
        """Carbon Emissions, Heat Waves, Solar Panels, Wind Farms, Sea Levels, Glaciers, Droughts,
        Wildfires, Renewable Energy, Recycling, Floods, Greenhouse Gases, Hurricanes, Plastic
        Waste, Forests, Carbon Taxes, Ocean Currents, Permafrost, Air Quality, Net-Zero Plans"""
    ),
    "Space": _words(
        """Rockets, Planets, Mars Rovers, Black Holes, Satellites, Telescopes, Astronauts, Moon
        Landings, Comets, Galaxies, Meteor Showers, Space Stations, Eclipses, Asteroids, Launch
        Pads, Supernovas, Exoplanets, Dark Matter, Orbits, Auroras"""
    ),
    "Science": _words(
        """Genes, Fossils, Particle Physics, Dinosaurs, Chemistry Labs, Stem Cells, Quantum
        Computers, Volcanoes, Microbes, Lasers, Brain Scans, Evolution, Earthquakes, Proteins,
        Periodic Tables, Atoms, Peer Review, Magnets, Enzymes, Skeletons"""
    ),
    "History": _words(
        """Ancient Rome, Castles, World War Diaries, Pharaohs, Vikings, Archives, Medieval Towns,
        Revolutions, Shipwrecks, Presidents of the Past, Pyramids, Samurai, Railroads, Old Maps,
        Empires, Explorers, Knights, Royal Weddings, Treaties, Gold Rushes"""
    ),
    "Politics": _words(
        """Elections, Senators, Polls, Campaign Ads, Voting Rights, Debates, Parliament, Supreme
        Court, Tax Reform, Mayors, Lobbyists, Ballots, Budgets, Governors, Town Halls, Immigration
        Law, Swing States, Filibusters, Coalitions, Referendums"""
    ),
    "Personal Finance": _words(
        """Credit Cards, Savings Accounts, Mortgages, Retirement Plans, Student Loans, Credit
        Scores, Tax Refunds, Emergency Funds, Interest Rates, Budget Apps, Life Insurance, Debt
        Payoff, Side Hustles, Pensions, Coupons, Overdraft Fees, Wills, Pay Raises, Checking
        Accounts, Payday Loans"""
    ),
    "Markets": _words(
        """Stocks, Bonds, Earnings Reports, Bitcoin, Index Funds, Dividends, Oil Prices,
        Inflation, Hedge Funds, Gold Futures, Startups, Mergers, Central Banks, Exchange Rates,
        Bull Markets, Venture Capital, Share Buybacks, Options Trades, Tariffs, Trade Deficits"""
    ),
    "Real Estate": _words(
        """Home Prices, Apartments, Open Houses, Rents, Landlords, Down Payments, Realtors,
        Condos, Home Inspections, Closing Costs, Tiny Houses, Housing Starts, Home Staging,
        Property Taxes, Suburbs, Lofts, Evictions, Zoning Rules, Home Appraisals, Foreclosures"""
    ),
    "Jobs and Careers": _words(
        """Resumes, Job Interviews, Remote Work, Cover Letters, Salaries, Internships, Layoffs,
        Promotions, Job Fairs, Coworkers, Freelancers, LinkedIn Profiles, Office Politics,
        Recruiters, Career Changes, Time Off, Unions, Apprenticeships, Business Cards, Exit
        Interviews"""
    ),
    "Education": _words(
        """College Admissions, Teachers, Exams, Scholarships, Textbooks, Study Habits, Essays,
        Classrooms, Math Homework, Graduations, Online Courses, Kindergartens, Tuition, School
        Boards, Spelling Bees, Report Cards, Dormitories, Flash Cards, Professors, Field Trips"""
    ),
    "Languages": _words(
        """Spanish Verbs, Accents, French Lessons, Grammar, Vocabulary Lists, Translators,
        Dictionaries, Idioms, German Nouns, Sign Language, Pronunciation, Japanese Kanji,
        Bilingual Families, Dialects, Plurals, Irregular Verbs, Language Apps, Alphabets,
        Punctuation, Etymology"""
    ),
}

# A pattern is literal text around fields: {w} and {v} two of the topic's words, {a} an audience,
# {p} a place, {q} a quality, {n} a number from 1 to 52, {:} a colon or a bar (the page's other
# form). The first patterns are the most frequent.
PATTERNS = (
    "{w} and {v}",
    "{q} {w} for {a}",
    "How {w} Changed {p}",
    "{w} in {p}",
    "{w} Schedule{:}Week {n}",
    "What {a} Should Know About {w}",
    "{n} Facts About {w}",
    "{w}{:}A Guide for {a}",
    "{w} vs. {v}{:}Which Is Better?",
    "{p} {w} News",
    "Why {w} Still Matter to {a}",
    "{q} {w} and Where to Find Them in {p}",
    "{w} Explained{:}Part {n}",
    "The {w} Handbook, Edition {n}",
    "Ask the Experts{:}{w} and {v}",
    '"{w}" and Other Myths About {v}',
    "{a} Talk About {w}",
    "Opinion{:}{p} Needs {q} {w}",
    "{w} - Latest Photos From {p}",
    "Review{:}{q} {w} Without {v}",
    "Live Updates{:}{w} in {p}",
    "{w} Forum - Page {n}",
    "Top {n} {w}",
    "Inside the World of {w}",
)

PORTAL_TOPIC = "Portal"  # pages that everybody has: they tell nothing of anybody's interests
PORTAL_PATTERNS = (
    "Home",
    "Search Results",
    "Sign In",
    "{p} Weather Forecast",
    "Inbox ({n})",
    "Maps{:}{p}",
    "Today in {p}",
    "Account Settings",
    "Page Not Found",
    "Top Stories{:}Page {n}",
)

AUDIENCE_NAMES = _words(
    """Beginners, Everyone, Families, Students, Experts, Busy People, Fans, Seniors, Kids,
    Collectors, Newcomers, Professionals, Couples, Night Owls, Skeptics, Travelers, Neighbors,
    Enthusiasts, First-Timers, Locals"""
)
PLACE_NAMES = _words(
    """New York, Texas, London, California, Ohio, Paris, Chicago, Tokyo, Florida, Berlin, Seattle,
    Canada, Boston, Australia, Denver, Ireland, Detroit, Brazil, Oregon, Madrid, Georgia, Toronto,
    Alaska, Vienna, Portland, Kenya, Arizona, Lisbon, Nashville, Norway, Zürich, São Paulo,
    Montréal, Maine, Utah, Kansas, Delhi, Seoul, Cairo, Lima"""
)
QUALITY_WORDS = _words(
    """Best, Cheap, Simple, Surprising, New, Classic, Healthy, Better, Local, Popular, Forgotten,
    Modern, Essential, Rare, Affordable, Reliable, Famous, Unusual, Small, Big, Smart, Perfect,
    Underrated, Controversial, Traditional"""
)
SITE_KINDS = _words("Daily, Insider, Hub, Journal, Planet")  # each topic has a site of each kind
GENERAL_SITES = _words(
    """Morning Courier, Evening Ledger, Harbor Post, North Star News, The Open Gazette, Plain
    Press, Metro Lantern, Riverside Tribune"""
)  # sites that write about everything
